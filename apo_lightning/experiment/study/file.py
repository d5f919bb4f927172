"""Study files, read with all that is wrong with them said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apo_lightning import config
from apo_lightning.config.check import Checker
from apo_lightning.config.layers import Layers, label, read_file, read_layers
from apo_lightning.config.load import raise_all
from apo_lightning.config.places import EXPERIMENTS
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.study import parts, rules
from apo_lightning.experiment.study.plan import Study
from apo_lightning.settings import ExperimentSettings
from apo_lightning.settings.study import StudySettings

FOLDER = EXPERIMENTS / "study"


@dataclass(frozen=True)
class Loaded:
    """A study whose settings are known to be valid in every world.

    Attributes:
        plan: what the file says.
        searches: world to the experiment of its search.
    """

    plan: Study
    searches: Mapping[str, ExperimentSettings] = field(default_factory=dict)


def read(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """
    Args:
        path: the study's file.
        overrides: ``key=value`` words, laid over the experiment of every world, its arms and their trials.

    Raises:
        ConfigError: everything that is wrong, one sentence a line.
    """
    where, tree = label(path), read_file(path)
    checker = Checker(Layers(where, tree))
    spec: StudySettings = checker.read(StudySettings, tree)
    for place in checker.missing:
        checker.say(place, f"{'.'.join(place)} must be given")
    experiment, sections = _experiment(spec, path, checker)
    plan = Study(path, path.stem, experiment, spec, sections, tuple(overrides))
    for place, text, *hint in rules.broken(plan):
        checker.say(place, text, *hint)
    problems = [*checker.problems, *rules.words(overrides)]
    searches, more = _loaded(plan) if sections and not rules.words(overrides) else ({}, [])
    raise_all([*problems, *more], where)
    name = next(iter(searches.values())).name
    plan = Study(path, name, experiment, spec, sections, tuple(overrides), next(iter(searches.values())).runs_dir)
    return Loaded(plan, {world: parts.named(plan, world, parts.SEARCH, cfg) for world, cfg in searches.items()})


def _experiment(spec: StudySettings, path: Path, checker: Checker) -> tuple[Path, Mapping[str, Any]]:
    """The experiment's file, and its ``arms`` as they stand there; none where it cannot be read, which is noted."""
    if ("experiment",) in checker.missing or not isinstance(spec.experiment, str):
        return path, {}
    beside = path.parent / spec.experiment
    try:
        found = beside if beside.suffix in (".yaml", ".yml") and beside.is_file() else config.find(spec.experiment)
        sections = read_layers(found).tree.get("arms")
    except ConfigError as error:
        checker.say(("experiment",), f"experiment: {str(error).rstrip('.')}")
        return path, {}
    if not isinstance(sections, Mapping) or not all(isinstance(own, Mapping) for own in sections.values()):
        checker.say(("experiment",), f"experiment: {label(found)} has no arms that a study could tune")
        return found, {}
    return found, sections


def _loaded(plan: Study) -> tuple[dict[str, ExperimentSettings], list[str]]:
    """The search of every world, and what is wrong with any part of any world, each once."""
    loaded, problems = dict[tuple[str, str], ExperimentSettings](), list[str]()
    for world in plan.worlds:
        for part in parts.PARTS if plan.tuned else (parts.FINAL,):
            try:
                loaded[world, part] = parts.load(plan, world, part)
            except ConfigError as error:
                problems += _sentences(error)
    searches = {world: cfg for (world, part), cfg in loaded.items() if part == parts.SEARCH}
    problems += [text for world, cfg in searches.items() for text in rules.of_search(plan, world, cfg)]
    return searches, list(dict.fromkeys(problems)) or rules.alike(plan, loaded)


def _sentences(error: ConfigError) -> list[str]:
    lines = str(error).splitlines()
    return [line.removeprefix("  - ") for line in lines[1:]] if " problems in " in lines[0] else lines
