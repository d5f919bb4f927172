"""The experiments that a study is made of: in each world one of all trials, and one of those that were chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from apo_lightning import config
from apo_lightning.config import arms
from apo_lightning.config.layers import Layers, Word, label
from apo_lightning.experiment.study.plan import DEFAULT, STUDIES, Study
from apo_lightning.files.atomic import write_text
from apo_lightning.settings import ExperimentSettings

SEARCH, FINAL = "search", "final"
PARTS = (SEARCH, FINAL)
UNREAD = "test"
"""The split that a search leaves alone."""


def load(
    plan: Study, world: str, part: str, chosen: Mapping[str, int] | None = None, only: Sequence[str] = ()
) -> ExperimentSettings:
    """The experiment of one part of a world, named for the study alone (see `named`).

    Its layers, each over the one before: the experiment's files, ``set`` of the study, of the world and of the part,
    what the part needs, each arm's ``set``, the trial, the command line.

    Args:
        plan: the study.
        world: its name.
        part: SEARCH or FINAL.
        chosen: of a final, arm to the number of its trial, from 1; of arms that it lacks, the first.
        only: of a final, the arms that are run; all others have their settings beside them, so that more of them can
            be run into the same folder later.

    Raises:
        ConfigError: everything that is wrong with it.
    """
    own = _searched(plan) if part == SEARCH else _final(plan, chosen or {})

    def lay(layers: Layers) -> list[str]:
        problems = arms.override(layers, _words(plan, world, part))
        layers.drop(("arms",), lambda name: True)
        for name, (section, source) in own.items():
            layers.lay({name: section}, source, ("arms",))
        layers.put(("only",), list(only), label(plan.path))
        return problems

    cfg = config.load(plan.experiment, plan.overrides, lay)
    if part == SEARCH:
        _hide_test(cfg)
    return cfg


def named(plan: Study, world: str, part: str, cfg: ExperimentSettings) -> ExperimentSettings:
    """``cfg`` under the name of its run folder."""
    for each in (cfg, *cfg.resolved.values()):
        each.name = f"{STUDIES}/{plan.name}/{world}/{part}"
    return cfg


def trial_name(arm: str, number: int) -> str:
    """
    >>> trial_name("sft", 2)
    'sft.t2'
    """
    return f"{arm}.t{number}"


def trials(plan: Study) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Arm, number (from 1) and settings of every trial."""
    for arm in plan.tuned:
        yield from ((arm, number, trial) for number, trial in enumerate(plan.trials(arm), 1))


def said(settings: Mapping[str, Any]) -> str:
    """
    >>> said({"stages.apo.optim.lr": 0.001, "pool.select": "all"})
    'apo.optim.lr=0.001, pool.select=all'
    """
    values = {key.removeprefix("stages."): value for key, value in settings.items()}
    told = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return ", ".join(f"{key}={value}" for key, value in told.items()) or "as the experiment has it"


def _words(plan: Study, world: str, part: str) -> list[Word]:
    where, spec = label(plan.path), plan.spec
    own = spec.search if part == SEARCH else spec.final
    sets = {"set": spec.set, f"worlds.{world}.set": plan.worlds[world].set, f"{part}.set": own.set}
    found = [
        Word(tuple(str(key).split(".")), value, f"{where}, {name}")
        for name, changes in sets.items()
        for key, value in changes.items()
        if all(str(key).split("."))
    ]
    needed = {("name",): plan.path.stem, ("seeds",): own.seeds, ("evaluate", "split"): own.split}
    return found + [Word(path, value, f"{where}, {part}") for path, value in needed.items()]


def _hide_test(cfg: ExperimentSettings) -> None:
    """Nothing answers or is written for the test split, of this data set or of another, whatever the command line
    says of those."""
    for own in (cfg, *cfg.resolved.values()):
        own.evaluate = replace(own.evaluate, data=None, sets={})
        splits = [split for split in own.stages.self_distill.splits if split != UNREAD]
        own.stages.self_distill = replace(own.stages.self_distill, splits=splits)


def _searched(plan: Study) -> dict[str, tuple[dict[str, Any], str]]:
    """Section of every trial's arm, and where it comes from."""
    return {
        trial_name(arm, number): (
            _over(plan, arm, trial, f"{plan.label(arm)} [t{number}: {said(trial)}]"),
            _source(plan, arm, number),
        )
        for arm, number, trial in trials(plan)
    }


def _final(plan: Study, chosen: Mapping[str, int]) -> dict[str, tuple[dict[str, Any], str]]:
    found = {}
    for arm in plan.measured:
        options, number = plan.trials(arm) if plan.trains(arm) else [], chosen.get(arm, 1)
        trial = options[number - 1] if options else {}
        found[arm] = _over(plan, arm, trial, plan.label(arm)), _source(plan, arm, number)
    return found


def _over(plan: Study, arm: str, trial: Mapping[str, Any], title: str) -> dict[str, Any]:
    """An arm with the settings of a trial behind its own, so that those win."""
    section = dict(plan.sections[arm])
    own = section.get("set") or {}
    kept = {key: value for key, value in own.items() if key not in trial} if isinstance(own, Mapping) else {}
    return section | {"label": title, "set": kept | {str(key): value for key, value in trial.items()}, "curve": None}


def _source(plan: Study, arm: str, number: int) -> str:
    listed = arm if arm in plan.spec.trials else DEFAULT
    return f"{label(plan.path)}, trials.{listed}, trial {number}" if plan.trains(arm) else label(plan.experiment)


def settled(cfg: ExperimentSettings) -> dict[str, Any]:
    """Its settings as a run folder keeps them."""
    return json.loads(json.dumps(config.to_dict(cfg)))


def dumped(cfg: ExperimentSettings, path: Path) -> Path:
    """``cfg`` as an experiment file, for processes that are started with one."""
    return write_text(path, config.dump(cfg))
