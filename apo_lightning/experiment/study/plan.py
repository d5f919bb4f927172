"""What a study file asks for, in the words that the other files here use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo_lightning.settings.study import StudySettings, WorldSettings

STUDIES = "study"
"""Of the runs folder: where studies lie, so that a study and an experiment may have one name."""
DEFAULT = "default"
"""The trials of arms that have none of their own."""
ALL, BEST, ALSO = "all", "best", "also"


@dataclass(frozen=True)
class Study:
    """A study file, its experiment, and the command line.

    Attributes:
        path: the study's file.
        name: of its folder.
        experiment: the experiment's file.
        spec: what the file says; what is wrong in it is a default here, or REQUIRED.
        sections: the experiment's ``arms`` as they stand in its files.
        overrides: ``key=value`` words.
        runs_dir: where runs and the store lie.
    """

    path: Path
    name: str
    experiment: Path
    spec: StudySettings
    sections: Mapping[str, Mapping[str, Any]]
    overrides: tuple[str, ...] = ()
    runs_dir: str = "runs"

    @property
    def folder(self) -> Path:
        return Path(self.runs_dir) / STUDIES / self.name

    @property
    def worlds(self) -> dict[str, WorldSettings]:
        found = self.spec.worlds if isinstance(self.spec.worlds, Mapping) else {}
        return {name: own for name, own in found.items() if isinstance(own, WorldSettings)}

    @property
    def arms(self) -> list[str]:
        """Those of the study that the experiment has, in its order."""
        named = self.spec.arms if isinstance(self.spec.arms, list) else []
        return [name for name in self.sections if name in named]

    @property
    def tuned(self) -> list[str]:
        """Arms of the study that train, and so have trials."""
        return [name for name in self.arms if self.trains(name)]

    @property
    def also(self) -> list[str]:
        """Arms that go on in any case, beside the best."""
        named = self.going.get(ALSO) or []
        return [name for name in self.sections if name in named] if isinstance(named, list) else []

    @property
    def going(self) -> Mapping[str, Any]:
        """``final.arms`` where it is a mapping."""
        return self.spec.final.arms if isinstance(self.spec.final.arms, Mapping) else {}

    @property
    def measured(self) -> list[str]:
        """All arms that a final can have: those of the study, and whatever trains nothing."""
        return [name for name in self.sections if name in self.arms or not self.trains(name)]

    def trains(self, arm: str) -> bool:
        return bool(self.sections[arm].get("stages"))

    def trials(self, arm: str) -> list[dict[str, Any]]:
        """The settings of each trial of an arm; what is no mapping is left out here, and refused elsewhere."""
        listed = self.spec.trials.get(arm, self.spec.trials.get(DEFAULT))
        return [dict(trial) for trial in listed if isinstance(trial, Mapping)] if isinstance(listed, list) else []

    def place(self, world: str, part: str) -> Path:
        """The run folder of a part."""
        return self.folder / world / part

    def label(self, arm: str) -> str:
        return str(self.sections[arm].get("label", arm))
