"""What must hold of a study file, beyond the types of its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from apo_lightning.config.layers import label, read_words
from apo_lightning.config.rules import SHARED, folders
from apo_lightning.config.training_rules import Problem
from apo_lightning.errors import ConfigError, did_you_mean
from apo_lightning.experiment.study import parts
from apo_lightning.experiment.study.plan import ALL, ALSO, BEST, DEFAULT, Study
from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.reports.columns import ENDS, SUMMARY, TEXTS
from apo_lightning.settings import ExperimentSettings

OURS = ("seeds", "only", "arms", "evaluate.split")
"""What the study file says in words of its own."""
COMMON = ("name", "runs_dir")
"""What all parts have one of."""
FIXED = (*SHARED, "data", "evaluate")
"""What no trial may change: trials of all arms are compared on one thing."""
FILES = ("trials.csv", "finals.csv", "study.json", "table.md", "map.png")
"""What lies beside the folders of the worlds."""
METRICS = sorted({c.metric for c in SUMMARY if c.best == "max"} | {n for n in TEXTS if ENDS.get(n, "max") == "max"})


def broken(plan: Study) -> Iterator[Problem]:
    """Every rule that the file breaks. Values of the wrong type were reported before and are passed over."""
    yield from _worlds(plan)
    yield from _arms(plan)
    yield from _trials(plan)
    yield from _sets(plan)
    yield from _going(plan)
    metric = plan.spec.search.metric
    if metric.split(":")[0] not in TEXT_METRICS and metric not in METRICS:
        text = f"search.metric must be a metric of results.csv that is better when high, got '{metric}'"
        yield ("search", "metric"), text, did_you_mean(metric, METRICS)


def words(overrides: Sequence[str]) -> list[str]:
    """Sentences about words of the command line that the file itself has to say."""
    try:
        found = [".".join(word.path) for word in read_words(overrides)]
    except ConfigError as error:
        return str(error).splitlines()
    return [
        f"{key} is said by the study file (search and final), not by the command line."
        for key in found
        if _held(key, OURS)
    ]


def of_search(plan: Study, world: str, cfg: ExperimentSettings) -> list[str]:
    """Sentences about arms whose search would read the test split, since their own ``set`` says so."""
    found = []
    for arm, own in cfg.resolved.items():
        if own.evaluate.split != "val" or own.evaluate.sets or own.evaluate.data is not None or _writes_test(own, arm):
            found.append(
                f"The search of {arm} in world '{world}' would read the test split, which has no say in what is chosen "
                f"({label(plan.path)}). Take what the arm sets of evaluate into final.set."
            )
    return found


def _writes_test(own: ExperimentSettings, arm: str) -> bool:
    return "self_distill" in own.arms[arm].stages and parts.UNREAD in own.stages.self_distill.splits


def alike(plan: Study, loaded: Mapping[tuple[str, str], ExperimentSettings]) -> list[str]:
    """Sentences about trials of an arm, or worlds, that are one and the same: a budget that is equal on paper alone.

    Args:
        plan: the study.
        loaded: world and part to its experiment.
    """
    where, found, seen = label(plan.path), [], dict[str, str]()
    for (world, part), cfg in loaded.items():
        runs = {name: _depends_on(cfg, name) for name in cfg.resolved}
        if part == parts.SEARCH:
            found += [text for arm in plan.tuned for text in _twins(plan, arm, runs, where)]
        elif (other := seen.setdefault(repr(runs), world)) != world:
            found.append(f"The worlds {other} and {world} are the same under two names ({where}).")
    return list(dict.fromkeys(found))


def _twins(plan: Study, arm: str, runs: Mapping[str, Any], where: str) -> Iterator[str]:
    own = [runs[parts.trial_name(arm, number)] for number in range(1, len(plan.trials(arm)) + 1)]
    for place, run in enumerate(own):
        if run in own[:place]:
            yield (
                f"Trials {own.index(run) + 1} and {place + 1} of {arm} are the same run, so that its budget is not "
                f"that of the others ({where}). What a trial sets must be a setting of a stage that the arm has."
            )


def _depends_on(cfg: ExperimentSettings, arm: str) -> dict[str, Any]:
    """All that an arm's run depends on."""
    full = asdict(replace(cfg.resolved[arm], arms={}))
    stages = {name: own for name, own in full["stages"].items() if name in cfg.arms[arm].stages}
    return {k: v for k, v in full.items() if k not in SHARED} | {"stages": stages, "runs": cfg.arms[arm].stages}


def _worlds(plan: Study) -> Iterator[Problem]:
    named = plan.spec.worlds
    if isinstance(named, Mapping) and not named:
        yield ("worlds",), "worlds must name at least one world", "Write home: {title: As it is}."
    yield from folders(("worlds",), named, FILES)


def _arms(plan: Study) -> Iterator[Problem]:
    named = plan.spec.arms
    if not isinstance(named, list) or not plan.sections:
        return
    if wrong := [name for name in named if not isinstance(name, str)]:
        yield ("arms",), f"arms must be a list of names, got {wrong[0]!r}"
        return
    for name in dict.fromkeys(named):
        if name not in plan.sections:
            yield ("arms",), f"arms names no arm '{name}' of the experiment", did_you_mean(name, plan.sections)
        if named.count(name) > 1:
            yield ("arms",), f"arms must name each arm once, got '{name}' {named.count(name)} times"
    if not plan.tuned and all(name in plan.sections for name in named):
        yield ("arms",), f"arms must name at least one arm that trains, got {named}"
    budget = plan.spec.budget
    if isinstance(budget, int) and budget < 1:
        yield ("budget",), f"budget must be >= 1, got {budget}"


def _trials(plan: Study) -> Iterator[Problem]:
    listed, known = plan.spec.trials, [*plan.tuned, DEFAULT]
    for name, own in listed.items():
        key = ("trials", name)
        if name not in known and plan.sections:
            trainless = name in plan.arms
            text = "trains nothing, so it has no trials" if trainless else "is none of the arms of the study"
            yield key, f"trials.{name}: '{name}' {text}", "" if trainless else did_you_mean(name, known)
        yield from _listed(key, own, plan.spec.budget)
    for name in plan.tuned:
        if name not in listed and DEFAULT not in listed:
            text = f"trials.{name} must be given: an arm that trains has as many trials as the others"
            yield ("trials",), text, f"Or give trials.{DEFAULT}, which is for arms without a list."


def _listed(key: tuple[str, ...], own: Any, budget: Any) -> Iterator[Problem]:
    """One list of trials."""
    name = ".".join(key)
    if not isinstance(own, list):
        yield key, f"{name} must be a list of mappings of dotted settings, got {own!r}"
        return
    if isinstance(budget, int) and len(own) != budget:
        text = f"{name} has {len(own)} trials, and budget is {budget}"
        yield key, text, "Every arm must have the same number, or the comparison favours who was tuned most."
    for number, trial in enumerate(own, 1):
        if not isinstance(trial, Mapping):
            yield key, f"{name}, trial {number} must be a mapping of dotted settings, got {trial!r}"
            continue
        for setting in _keys(trial):
            if _held(setting, FIXED):
                yield key, f"{name}, trial {number} must not hold '{setting}', which all trials share"
        yield from _malformed(key, f"{name}, trial {number}", trial)


def _sets(plan: Study) -> Iterator[Problem]:
    """What the file lays over the experiment must leave what the file says otherwise."""
    sets = {("set",): plan.spec.set, ("search", "set"): plan.spec.search.set, ("final", "set"): plan.spec.final.set}
    sets |= {("worlds", name, "set"): own.set for name, own in plan.worlds.items()}
    for key, changes in sets.items():
        held = OURS if key == ("set",) else (*OURS, *COMMON)
        for setting in _keys(changes):
            if _held(setting, (*held, "name")):
                yield key, f"{'.'.join(key)} must not hold '{setting}', which the study says itself"
        yield from _malformed(key, ".".join(key), changes)


def _going(plan: Study) -> Iterator[Problem]:
    key, asked = ("final", "arms"), plan.spec.final.arms
    if asked == ALL:
        return
    if not isinstance(asked, Mapping) or not asked or set(asked) - {BEST, ALSO}:
        shape = f"{ALL}, or {{{BEST}: k, {ALSO}: [names of arms]}}"
        yield key, f"final.arms must be {shape}, got {asked!r}"
        return
    best, also = asked.get(BEST, 1), asked.get(ALSO, [])
    if (isinstance(best, bool) or not isinstance(best, int) or not 1 <= best <= len(plan.tuned)) and plan.tuned:
        text = (
            f"final.arms.{BEST} must be an integer from 1 to {len(plan.tuned)}, the arms that are tuned, got {best!r}"
        )
        yield (*key, BEST), text
    if not isinstance(also, list):
        yield (*key, ALSO), f"final.arms.{ALSO} must be a list of names of arms, got {also!r}"
        return
    for name in also if plan.sections else ():
        if not isinstance(name, str) or name not in plan.sections:
            text = f"final.arms.{ALSO} names no arm '{name}' of the experiment"
            yield (*key, ALSO), text, did_you_mean(str(name), plan.sections)
        elif name not in plan.measured:
            text = f"final.arms.{ALSO} names '{name}', which trains and is not tuned here"
            yield (*key, ALSO), text, "Add it to arms, with its trials: every arm is tuned alike."


def _keys(changes: Any) -> list[str]:
    """Dotted keys of all values, those inside of mappings too."""
    found = []
    for key, value in changes.items() if isinstance(changes, Mapping) else ():
        inside = _keys(value) if isinstance(value, Mapping) else []
        found += [f"{key}.{below}" for below in inside] or [str(key)]
    return found


def _malformed(place: tuple[str, ...], name: str, changes: Mapping[Any, Any]) -> Iterator[Problem]:
    for key in changes:
        if not all(str(key).split(".")):
            yield place, f"{name}: '{key}' is no dotted key"


def _held(key: str, names: Sequence[str]) -> bool:
    """Whether ``key`` is one of ``names``, or lies below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)
