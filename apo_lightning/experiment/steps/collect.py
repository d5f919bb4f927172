"""Ask every teacher about every study: from here on, all teachers are recorded ones."""

from __future__ import annotations

from typing import Any

from apo_lightning import leader
from apo_lightning.experiment import cache_keys
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.base import Step
from apo_lightning.hashing.sources import sources_of
from apo_lightning.teachers import TEACHERS, pool, recorded
from apo_lightning.trajectories import records
from data_modules.loading.splits import SPLITS

NAMES = ("kind", "name", "teacher")
"""Settings of a teacher that are names, whatever a file here is called."""


class Collect(Step):
    """Writes ``trajectories.jsonl``."""

    def __init__(self, own: Context) -> None:
        super().__init__(own, "collect")

    def inputs(self) -> dict[str, Any]:
        """Every teacher's settings but its weight, the files that it reads, and its source."""
        own = self.own
        sections = {name: {k: v for k, v in s.items() if k != "weight"} for name, s in own.cfg.teachers.items()}
        files = {
            f"{name}.{key}": cache_keys.content(path, own.folder.store)
            for name, section in sections.items()
            for key, path in cache_keys.paths({k: v for k, v in section.items() if k not in NAMES})
        }
        kinds = [TEACHERS.lookup(section["kind"]) for section in sections.values()]
        code = sources_of(type(self), *kinds, pool, records, *cache_keys.data_classes(own))
        return {"data": own.fingerprint, "teachers": sections, "files": files, "sources": code}

    def run(self, folder: StageFolder) -> dict[str, Any]:
        teachers = {name: self.own.teacher(name) for name in self.own.cfg.teachers}
        if leader.is_leader():
            studies = {split: self.own.data.studies(split) for split in SPLITS}
            recorded.write_jsonl(folder.path / "trajectories.jsonl", pool.collect(teachers, studies))
        return {"teachers": list(teachers)}
