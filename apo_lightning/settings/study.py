"""The typed shape of a study file: an experiment in several worlds, and an equal number of trials for every arm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from apo_lightning.settings.checks import REQUIRED, check_choices


@dataclass
class WorldSettings:
    """One setting of the scene: dotted settings laid over the experiment, for all arms."""

    title: str = REQUIRED
    """What tables call it."""
    set: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ValueError("title must not be empty: tables call the world by it")


@dataclass
class SearchSettings:
    """How trials are compared: the highest mean of ``metric`` over findings and seeds; of equals, the first trial."""

    seeds: list[int] = field(default_factory=lambda: [0])
    split: Literal["val"] = "val"
    """The test split has no say in what is chosen."""
    metric: str = "balanced_accuracy"
    set: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass
class FinalSettings:
    """What is measured of the trials that were chosen."""

    seeds: list[int] = REQUIRED
    split: Literal["val", "test"] = "test"
    arms: Any = "all"
    """Which arms go on: ``all``, or ``{best: k, also: [names]}``: the k with the highest mean over worlds of the score
    that they were chosen by, and those that are named."""
    set: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass
class StudySettings:
    """A study: worlds x arms x trials, and then the chosen trials over more seeds."""

    experiment: str = REQUIRED
    """A file, from the study's own folder, or the name of an experiment."""
    set: dict[str, Any] = field(default_factory=dict)
    """Dotted settings laid over the experiment in all worlds; an arm's own ``set`` lies over them."""
    worlds: dict[str, WorldSettings] = REQUIRED
    arms: list[str] = REQUIRED
    """Names of arms of the experiment; those without a stage need no trials."""
    trials: dict[str, Any] = field(default_factory=dict)
    """Arm to a list of dotted settings, a mapping a trial, laid over the arm's ``set``; ``default`` for the others."""
    budget: int = REQUIRED
    """How many trials every arm has."""
    search: SearchSettings = field(default_factory=SearchSettings)
    final: FinalSettings = field(default_factory=FinalSettings)
