"""What must hold between the settings of an experiment: names that refer to each other, and the order of stages."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from apo_lightning.collecting import secrets
from apo_lightning.config import serving_rules, shape, training_rules
from apo_lightning.config.registered import Path
from apo_lightning.config.shape import PAPER
from apo_lightning.config.training_rules import Problem
from apo_lightning.errors import did_you_mean
from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.metrics.report_text.measured import ALWAYS
from apo_lightning.negatives import DEFAULT
from apo_lightning.settings import REQUIRED, ExperimentSettings, PruneSettings, rounds
from apo_lightning.settings.plain import CurvePoint, EvaluationSet
from apo_lightning.settings.reports import BACKENDS

ARTEFACTS = {
    "spd": (("trajectories",), ("student",)),
    "self_distill": (("trajectories", "student"), ("preferred",)),
    "apo": (("trajectories", "preferred"), ("student",)),
}
"""What the paper's stages read and write, as their classes say, whose import takes seconds."""

MEASURED = "evaluate.report_text"
"""How all texts of a table are measured."""

SPLITS = ("train", "val", "test")
CHEAPEST = "cheapest"
SELECT = ("all", "best_on_val", CHEAPEST)
"""Words of ``pool.select``."""

SHARED = ("name", "runs_dir", "seeds", "only", "arms", "wandb", "cache", "acknowledge", "acknowledge_sending")
"""What belongs to the experiment as a whole, so that no arm may set it."""

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

LARGEST = 1e30
"""A weight that float32 holds, with room for sums and products."""
STORE, OWN_FOLDERS = "store", ("figures", "samples", "sets")
"""Folders that every run makes."""


def broken(cfg: ExperimentSettings) -> Iterator[Problem]:
    """Every rule that ``cfg`` breaks. Values of the wrong type were reported before and are passed over."""
    yield from _names(cfg)
    yield from _seeds(cfg.seeds)
    yield from _teachers(cfg)
    yield from _arms(cfg)
    yield from _curves(cfg)
    yield from _precision(cfg)
    yield from _splits(cfg)
    yield from _negatives(cfg)
    yield from _acknowledged(cfg)
    yield from _keys(cfg)
    yield from _text_metrics(cfg)
    yield from training_rules.broken(cfg)
    yield from serving_rules.broken(cfg)


def _acknowledged(cfg: ExperimentSettings) -> Iterator[Problem]:
    further = [own.data for own in _sets(cfg).values()]
    used = [str(s.get("name")) for s in (cfg.data, cfg.evaluate.data, *further) if isinstance(s, Mapping)]
    for key in ("acknowledge", "acknowledge_sending"):
        for name in getattr(cfg, key):
            if name not in used:
                yield (key,), f"{key} must name data sets of the experiment, got '{name}'", did_you_mean(name, used)


def _keys(cfg: ExperimentSettings) -> Iterator[Problem]:
    """A key that stands in the settings would stand in every copy of them, in the run folder and at W&B."""
    for name, section in _mapping(cfg.teachers).items():
        for key, value in section.items():
            if secrets.holds_key(value):
                text = f"teachers.{name}.{key} holds what looks like a key; it is not shown here"
                yield (
                    ("teachers", name, key),
                    text,
                    "Put it into a variable of the environment, and its name here: key: OPENAI_API_KEY.",
                )


def _text_metrics(cfg: ExperimentSettings) -> Iterator[Problem]:
    """Names under ``also``; the two backends are chosen by ``backend``, and what is always measured needs no name."""
    known = [name for name in TEXT_METRICS if name not in (*BACKENDS, *ALWAYS)]
    for name in cfg.evaluate.report_text.also:
        if name not in known:
            yield (*MEASURED.split("."), "also"), f"{MEASURED}.also names no metric '{name}'", did_you_mean(name, known)


def weight_problem(weight: Any) -> str | None:
    """What is wrong with a teacher's weight; None if it is a number of at least 0."""
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        return f"must be a number, got {weight!r}"
    if weight > LARGEST:
        return f"must be at most {LARGEST:g}, got {str(weight)[:40]}"
    return None if weight >= 0 else f"must be >= 0, got {weight}"


def runs_stage(cfg: ExperimentSettings, stage: str) -> bool:
    """Whether some arm runs ``stage``; the settings of a stage that none runs may be left out."""
    return any(stage in arm.stages for arm in _mapping(cfg.arms).values())


def _names(cfg: ExperimentSettings) -> Iterator[Problem]:
    if cfg.name != "???" and not all(FOLDER_NAME.fullmatch(part) for part in cfg.name.split("/")):
        yield ("name",), f"name must be usable as a folder (letters, digits, '.', '_', '-'), got '{cfg.name}'"
    if cfg.name.lower().split("/")[0] == STORE:
        yield ("name",), f"name must not be '{cfg.name}', where all runs keep their stages"
    yield from folders(("arms",), cfg.arms, OWN_FOLDERS)
    yield from folders(("evaluate", "sets"), cfg.evaluate.sets)
    for arm in cfg.only:
        if arm not in _mapping(cfg.arms):
            yield ("only",), f"only names no arm '{arm}'", did_you_mean(arm, _mapping(cfg.arms))


def folders(place: Path, names: Any, taken: Collection[str] = ()) -> Iterator[Problem]:
    """Names in the mapping at ``place`` that cannot each be a folder beside the others."""
    seen: dict[str, str] = {}
    for name in _mapping(names):
        key = ".".join((*place, name))
        if not FOLDER_NAME.fullmatch(name):
            yield (*place, name), f"{key} must be usable as a folder (letters, digits, '.', '_', '-')"
        elif name.lower() in taken:
            yield (*place, name), f"{key} must have another name: a run folder has its {name.lower()} there"
        elif (other := seen.setdefault(name.lower(), name)) != name:
            both = f"{key} and {'.'.join((*place, other))}"
            yield (*place, name), f"{both} are one folder where upper and lower case are the same"


def _curves(cfg: ExperimentSettings) -> Iterator[Problem]:
    """A line of a curve has one arm at each place of its axis."""
    seen: dict[tuple[str, str, float], str] = {}
    for name, arm in _mapping(cfg.arms).items():
        if not isinstance(at := arm.curve, CurvePoint):
            continue
        if (other := seen.setdefault((at.axis, at.line, at.x), name)) != name:
            text = f"arms.{name}.curve.x is {at.x:g} on the line '{at.line}' of '{at.axis}', and so is that of {other}"
            yield ("arms", name, "curve", "x"), text, "Give each its own, or another line."


def _seeds(seeds: list[int]) -> Iterator[Problem]:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        yield ("seeds",), f"seeds must be one or more different integers >= 0, got {seeds}"


def _teachers(cfg: ExperimentSettings) -> Iterator[Problem]:
    teachers = _mapping(cfg.teachers)
    if not teachers and cfg.teachers != "???":
        yield ("teachers",), "teachers must name at least one teacher"
    weights = {name: section.get("weight", 1.0) for name, section in teachers.items()}
    wrong = {name: problem for name, weight in weights.items() if (problem := weight_problem(weight))}
    yield from ((("teachers", name, "weight"), f"teachers.{name}.weight {text}") for name, text in wrong.items())
    chosen, select = list(teachers), cfg.pool.select
    if isinstance(select, list):
        chosen = [name for name in select if name in teachers]
        for name in (name for name in select if name not in teachers):
            yield ("pool", "select"), f"pool.select names no teacher '{name}'", did_you_mean(str(name), teachers)
    elif select not in SELECT:
        allowed = ", ".join(SELECT)
        yield ("pool", "select"), f"pool.select must be {allowed}, or a list of teachers, got {select!r}"
    yield from _pruned(cfg, teachers)
    if teachers and not wrong and not any(weights[name] > 0 for name in chosen):
        yield ("teachers",), "No teacher that is selected has a weight > 0"


def _pruned(cfg: ExperimentSettings, teachers: Mapping[str, Any]) -> Iterator[Problem]:
    """Prices of teachers that there are, and of each one that is to be weighed by its price."""
    key, plan = ("pool", "prune"), cfg.pool.prune or PruneSettings()
    prices = _mapping(plan.prices)
    for name in (name for name in prices if name not in teachers):
        yield (*key, "prices", name), f"pool.prune.prices names no teacher '{name}'", did_you_mean(name, teachers)
    free = [name for name, own in teachers.items() if name not in prices and not _known(own.get("price"))]
    if cfg.pool.select == CHEAPEST and plan.by == "money" and free:
        text = f"pool.prune.by is money, and pool.prune.prices has no price for {', '.join(free)}"
        yield (*key, "by"), text, "Give each teacher one, made up for simulated ones, or save requests or tokens."


def _known(price: Any) -> bool:
    """Whether a teacher's own section (``kind: api``) says what its tokens cost."""
    return None not in [_mapping(price).get(key) for key in ("input", "output")]


def _arms(cfg: ExperimentSettings) -> Iterator[Problem]:
    if not _mapping(cfg.arms) and cfg.arms != "???":
        yield ("arms",), "arms must name at least one arm"
    for name, arm in _mapping(cfg.arms).items():
        key = ("arms", name, "stages")
        yield from _order(key, arm.stages)
        for setting, value in arm.set.items():
            below = [f"{setting}.{key}" for key in value] if isinstance(value, Mapping) else []
            held = next((key for key in (setting, *below) if _is_shared(key)), "")
            if held or _names_sets(setting, value):
                yield (
                    ("arms", name, "set"),
                    f"arms.{name}.set must not hold '{held or setting}', which all arms share",
                )


def _order(key: Path, names: list[str]) -> Iterator[Problem]:
    """Stages of an arm: known ones, the paper's in their order, each behind those whose artefacts it reads, and each
    later run behind the one before it."""
    where, unknown = ".".join(key), [name for name in names if shape.stage_of(name) is None]
    for name in unknown:
        yield key, f"{where} names no stage '{name}'", _known_stages(name)
    paper = [name for name in names if name in PAPER]
    if not unknown and (paper != [name for name in PAPER if name in paper] or len(set(names)) < len(names)):
        yield key, f"{where} must be in the order {', '.join(PAPER)}, each once, got {names}"
    yield from _again(key, names)
    written: set[str] = set()
    for name in names:
        reads, writes = artefacts(name)
        if "preferred" in reads and "preferred" not in written:
            text = f"{where}: '{name}' reads preferred.jsonl, which no stage before it writes"
            yield key, text, "Add 'self_distill' before it."
            return
        written |= set(writes)


def artefacts(name: str) -> tuple[Sequence[str], Sequence[str]]:
    """What a stage of an arm reads, and what it writes; nothing of an unknown one."""
    if (stage := shape.stage_of(name)) is None:
        return (), ()
    return ARTEFACTS[stage] if stage in ARTEFACTS else (shape.stages()[stage].reads, shape.stages()[stage].writes)


def _known_stages(name: str) -> str:
    """What to do about a name that is no stage."""
    stage, _, again = name.rpartition("_")
    if again.isdigit() and shape.stage_of(stage):
        return f"A stage runs again as {stage}_2, {stage}_3, up to {stage}_{rounds.MOST}."
    return did_you_mean(rounds.first(name), dict.fromkeys([*PAPER, *shape.stages()]))


def _again(key: Path, names: list[str]) -> Iterator[Problem]:
    for place, name in enumerate(names):
        if shape.is_again(name) and (earlier := rounds.before(name)) not in names[:place]:
            text = f"{'.'.join(key)}: '{name}' runs '{shape.stage_of(name)}' again, and '{earlier}' is not before it"
            yield key, text, f"Add '{earlier}' before it."


def _is_shared(setting: str) -> bool:
    return setting.split(".")[0] in SHARED or setting.startswith(MEASURED)


def _precision(cfg: ExperimentSettings) -> Iterator[Problem]:
    """What is computed is computed in one kind of 16 bits, with a loss scaler where that is float16."""
    key, precision, dtype = ("trainer", "precision"), cfg.trainer.precision, cfg.student.dtype
    if dtype == "float16" and precision != "16-mixed":
        text = f"trainer.precision must be 16-mixed where student.dtype is float16, got '{precision}'"
        yield key, text, "Its loss scaler keeps gradients that float16 would lose."
    elif dtype == "bfloat16" and precision == "16-mixed":
        yield key, "trainer.precision must be bf16-mixed or 32-true where student.dtype is bfloat16, got '16-mixed'"


def _splits(cfg: ExperimentSettings) -> Iterator[Problem]:
    """Of each stage that writes t+: splits that there are, and train where something learns from it."""
    run = dict.fromkeys(name for arm in _mapping(cfg.arms).values() for name in arm.stages)
    learns = next((name for name in run if "preferred" in artefacts(name)[0]), None)
    for stage in (name for name in run if shape.stage_of(name) == "self_distill"):
        key, chosen = ("stages", stage, "splits"), getattr(cfg.stages, stage).splits
        for split in chosen if isinstance(chosen, list) else ():
            if split not in SPLITS:
                yield key, f"{'.'.join(key)} names no split '{split}'", did_you_mean(str(split), SPLITS)
        if learns and isinstance(chosen, list) and "train" not in chosen:
            yield key, f"{'.'.join(key)} must hold train, since {learns} learns from its texts, got {chosen}"


def _negatives(cfg: ExperimentSettings) -> Iterator[Problem]:
    """A stage that does not read t+ has nothing to compare with it."""
    chosen = {name: _mapping(getattr(plan, "negatives", None)).get("name") for name, plan in vars(cfg.stages).items()}
    for stage, name in chosen.items():
        if name in (None, REQUIRED, DEFAULT) or "preferred" in _reads(stage):
            continue
        comparing = [own for own in chosen if "preferred" in _reads(own)]
        text = f"stages.{stage}.negatives must be {DEFAULT}, got '{name}': stage '{stage}' reads no t+ to compare with"
        yield ("stages", stage, "negatives"), text, f"Set it for a stage that does: {', '.join(comparing)}."


def _reads(stage: str) -> Collection[str]:
    return ARTEFACTS[stage][0] if stage in ARTEFACTS else shape.stages()[stage].reads


def _names_sets(setting: str, value: Any) -> bool:
    """Whether an arm's setting says which further sets are answered: they are the columns of one table."""
    return setting.split(".")[:2] == ["evaluate", "sets"] or (setting == "evaluate" and "sets" in _mapping(value))


def _sets(cfg: ExperimentSettings) -> Mapping[str, EvaluationSet]:
    return {name: own for name, own in _mapping(cfg.evaluate.sets).items() if isinstance(own, EvaluationSet)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
