"""Learn: supervised pre-distillation of the weighted mixture of all teachers."""

from __future__ import annotations

from typing import Any

from apo_lightning.stages import STAGES
from apo_lightning.stages.base import Stage
from apo_lightning.types import BranchBatch, Scores


@STAGES.register("spd")
class SPD(Stage):
    """`min sum_u w_u KL(pi_u || q)`; for teachers that give text, the weighted likelihood of their trajectories. One
    branch a teacher; a study that lacks a teacher has fewer."""

    name = "spd"
    provides = frozenset({"logps", "token_logps", "lengths", "mask", "weight", "present"})

    def training_step(self, batch: BranchBatch, batch_idx: int) -> dict[str, Any]:
        scores = self.student.score(batch, self.slope(batch))
        return self.finish(self.ask(self.quantities(batch, scores)), batch)

    def quantities(self, batch: BranchBatch, scores: Scores) -> dict[str, Any]:
        return dict(
            logps=scores.logps, token_logps=scores.token_logps, lengths=scores.lengths, mask=batch.branch_mask,
            weight=batch.weight, present=batch.present,
        )  # fmt: skip
