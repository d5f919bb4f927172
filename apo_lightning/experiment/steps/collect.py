"""Ask every teacher about every study: from here on, all teachers are recorded ones."""

from __future__ import annotations

from typing import Any

from apo_lightning import leader
from apo_lightning.experiment import cache_keys, told_labels, told_texts
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.base import Step
from apo_lightning.hashing.sources import sources_of
from apo_lightning.teachers import pool, recorded
from apo_lightning.trajectories import records
from data_modules.loading.splits import SPLITS


class Collect(Step):
    """Writes ``trajectories.jsonl``."""

    def __init__(self, own: Context) -> None:
        super().__init__(own, "collect")

    def inputs(self) -> dict[str, Any]:
        """Every teacher's settings but its weight, the files that it reads, and its source."""
        own = self.own
        asked, kinds = cache_keys.of_teachers(own, own.cfg.teachers)
        code = sources_of(type(self), *kinds, pool, records, *cache_keys.data_classes(own))
        return {"data": own.fingerprint, **asked, "sources": code}

    def run(self, folder: StageFolder) -> dict[str, Any]:
        teachers = {name: self.own.teacher(name) for name in self.own.cfg.teachers}
        asked, matched = {}, {}
        if leader.is_leader():
            studies = {split: self.own.data.studies(split) for split in SPLITS}
            said = pool.collect(teachers, studies)
            recorded.write_jsonl(folder.path / "trajectories.jsonl", said)
            asked = told_labels.count(said)
            lines, matched = told_texts.tell(teachers, [s for own in studies.values() for s in own], self.own.scored)
            for line in lines:
                leader.say_plainly(line)
        return {"teachers": list(teachers), "prompts": asked, **({"matched": matched} if matched else {})}
