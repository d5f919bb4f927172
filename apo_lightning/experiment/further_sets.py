"""Further sets that the students of a run answer: looked at before anything is trained, and a table for each.

What is not on disk is named and left out, so that one experiment file serves whoever has some of its sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from apo_lightning import config, leader
from apo_lightning.errors import AbsentError
from apo_lightning.experiment import rehearsal, results
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.steps.evaluate import OWN
from apo_lightning.files.characters import visible
from apo_lightning.files.formats import write_json
from apo_lightning.settings import ExperimentSettings
from data_modules import DATA
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS
from data_modules.transfer import naming, share_patients


@dataclass(frozen=True)
class FurtherSet:
    """One of ``evaluate.sets``: its data module, checked, or why it is left out."""

    name: str
    title: str
    data: CXRDataModule
    left_out: str = ""

    @property
    def key(self) -> str:
        """Where its data set is described."""
        return f"evaluate.sets.{self.name}.data"

    def facts(self) -> dict[str, Any]:
        """Its entry in ``sets.json``."""
        studies = [] if self.left_out else self.data.studies("test")
        return {
            "name": self.name,
            "title": self.title,
            "studies": len(studies),
            "patients": len({study.patient for study in studies}),
            "findings": [] if self.left_out else list(self.data.scored_findings),
            "left_out": self.left_out,
        }


def build(cfg: ExperimentSettings) -> list[FurtherSet]:
    """The sets of an experiment. No file is looked at yet, and nothing but their test part ever will be."""
    made = []
    for name, own in cfg.evaluate.sets.items():
        data = config.build(DATA, own.data, f"evaluate.sets.{name}.data")
        data.splits = ("test",)
        made.append(FurtherSet(name, own.title, data))
    return made


def look(cfg: ExperimentSettings, folder: Path) -> list[FurtherSet]:
    """Check every set, and say what was found.

    Args:
        folder: of the run; takes the lists of rows that cannot be used.

    Raises:
        DataError: a set is on disk and does not pass.
        ConfigError: a set's question cannot be asked of its studies.
    """
    return [_looked_at(own, cfg, folder) for own in build(cfg)]


def _looked_at(own: FurtherSet, cfg: ExperimentSettings, folder: Path) -> FurtherSet:
    try:
        with naming(own.key):
            own.data.check(report_path=folder / f"unusable_set_{own.name}.tsv" if leader.is_leader() else None)
    except AbsentError as error:
        leader.warn(f"  set {own.name} is left out: {error}")
        return FurtherSet(own.name, own.title, own.data, f"{own.title} is not on disk. {error}")
    rehearsal.rehearse_set(cfg, own.name, own.data)
    leader.say(f"  set {own.name}: {len(own.data.studies('test'))} studies, {len(own.data.bad)} unusable")
    for note in own.data.notes:
        leader.say(f"    [dim]{escape(visible(note))}[/dim]")
    return own


def present(sets: Sequence[FurtherSet]) -> list[FurtherSet]:
    """Those that are answered."""
    return [own for own in sets if not own.left_out]


def write(
    cfg: ExperimentSettings, sets: Sequence[FurtherSet], folder: Path, arms: Mapping[str, Context]
) -> list[dict[str, Any]]:
    """The tables of every set, and ``sets.json``, which names those without one too.

    Args:
        arms: each arm that ran, with all that it has done.

    Returns:
        what ``sets.json`` holds.
    """
    for own in present(sets):
        views = {arm: _view(each, own) for arm, each in arms.items()}
        results.write(cfg.of_set(own.name), folder, views, f"{OWN}_{own.name}", folder / "sets" / own.name)
    facts = [own.facts() for own in sets]
    if facts:
        write_json(folder / "sets" / "sets.json", facts)
    return facts


def _view(own: Context, further: FurtherSet) -> Context:
    view = own.for_set(further.name)
    view.trajectories = own.trajectories if _spoken_of(own, further.data) else []
    return view


def _spoken_of(own: Context, data: CXRDataModule) -> bool:
    """Whether teachers were asked about every study of a further set, since it is part of the run's own. An equal id
    alone says nothing: it may be another image."""
    if not any(share_patients(part, data) for part in own.data.sets):
        return False
    asked = {(study.id, study.patient) for split in SPLITS for study in own.data.studies(split)}
    return all((study.id, study.patient) in asked for study in data.studies("test"))
