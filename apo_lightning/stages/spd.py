"""Learn: supervised pre-distillation of the weighted mixture of all teachers."""

from __future__ import annotations

from typing import Any

from apo_lightning.stages import STAGES
from apo_lightning.stages.base import Stage
from apo_lightning.types import BranchBatch


@STAGES.register("spd")
class SPD(Stage):
    """`min sum_u w_u KL(pi_u || q)`; for teachers that give text, the weighted likelihood of their trajectories. One
    branch a teacher; a study that lacks a teacher has fewer."""

    name = "spd"
    provides = frozenset({"logps", "lengths", "weight", "present"})

    def training_step(self, batch: BranchBatch, batch_idx: int) -> dict[str, Any]:
        scores = self.student.score(batch)
        given = dict(logps=scores.logps, lengths=scores.lengths, weight=batch.weight, present=batch.present)
        output = self.loss(**{name: given[name] for name in self.wanted})
        return self.finish(output, batch)
