"""Whether the recorded texts of an experiment are about its studies, told before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from apo_lightning import config
from apo_lightning.errors import AbsentError
from apo_lightning.experiment import checks, told_texts
from apo_lightning.experiment.scored import scored_findings
from apo_lightning.hashing.contents import digest
from apo_lightning.settings import ExperimentSettings
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.recorded import Recorded
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS


def named(cfg: ExperimentSettings) -> dict[str, str]:
    """Recorded teachers of one arm to the paths of their texts, which may be absent."""
    kinds = {name: TEACHERS.get(str(section.get("kind"))) for name, section in cfg.teachers.items()}
    return {name: str(cfg.teachers[name].get("path", "")) for name, kind in kinds.items() if kind is Recorded}


def recorded(cfg: ExperimentSettings) -> dict[str, Recorded]:
    """Recorded teachers of one arm whose files are there."""
    there = [name for name, path in named(cfg).items() if Path(path).expanduser().exists()]
    return {name: config.build(TEACHERS, cfg.teachers[name], f"teachers.{name}", "kind", name=name) for name in there}


def look(arms: Mapping[str, ExperimentSettings]) -> list[str]:
    """How the texts of all arms match their data; those whose data are not on disk are left out, and so are teachers
    whose files are not.

    Args:
        arms: resolved settings by name.

    Raises:
        DataError: the data, or a file of texts, cannot be read, or no text of a teacher names a study.
    """
    lines = dict[str, None]()
    distinct = {digest([own.data, own.evaluate.data, _texts_of(own)]): own for own in reversed(arms.values())}
    for own in reversed(distinct.values()):
        if teachers := recorded(own):
            with suppress(AbsentError):
                lines |= dict.fromkeys(on(checks.build_data(own), own, teachers))
    return list(lines)


def on(data: CXRDataModule, cfg: ExperimentSettings, teachers: Mapping[str, Recorded]) -> list[str]:
    """The same of teachers on the studies of one data module: what a run says once it has read them.

    Raises:
        DataError: as `look`.
    """
    studies = [study for split in SPLITS for study in data.studies(split)]
    if not studies:
        return []
    for teacher in teachers.values():
        teacher.signal(studies, [0.0] * len(studies))  # refuses what a run would refuse
    return told_texts.tell(teachers, studies, scored_findings(cfg.evaluate, data))[0]


def _texts_of(cfg: ExperimentSettings) -> dict[str, dict]:
    return {name: {k: v for k, v in own.items() if k != "weight"} for name, own in cfg.teachers.items()}
