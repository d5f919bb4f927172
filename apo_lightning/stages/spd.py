"""Learn: supervised pre-distillation of the weighted mixture of all teachers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from apo_lightning.metrics.rewards import of_texts
from apo_lightning.models.student import Student
from apo_lightning.scoring import Recorded
from apo_lightning.stages import STAGES
from apo_lightning.stages.base import Stage
from apo_lightning.types import BranchBatch, Scores

LOGITS = frozenset({"divergence", "mixture_divergence"})
"""What can be provided only where every teacher gives logits."""


@STAGES.register("spd")
class SPD(Stage):
    """`min sum_u w_u KL(pi_u || q)`; for teachers that give text, the weighted likelihood of their trajectories; for
    teachers that give logits, a divergence at every token. One branch a teacher; a study that lacks a teacher has
    fewer."""

    name = "spd"
    provides = frozenset({"logps", "token_logps", "lengths", "mask", "weight", "present"}) | LOGITS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.names, self.models, self.recorded = [], nn.ModuleList(), {}

    def set_teachers(self, teachers: Mapping[str, Student | Recorded]) -> None:
        """Give the stage the frozen models of teachers that give logits, or what was recorded of them."""
        self.names = [name for name, who in teachers.items() if isinstance(who, Student)]
        self.models = nn.ModuleList(teachers[name] for name in self.names)
        self.recorded = {name: who for name, who in teachers.items() if name not in self.names}

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.models.eval()

    def training_step(self, batch: BranchBatch, batch_idx: int) -> dict[str, Any]:
        if self.wanted & LOGITS:
            return self.log_loss(self.compute_loss(self._compared(batch)), batch)
        scores = self.student.score(batch, self.grad_wrt_logps(batch))
        return self.log_loss(self.compute_loss(self.quantities(batch, scores)), batch)

    def validation_step(self, batch: BranchBatch, batch_idx: int) -> None:
        """Loss and its metrics, and ``logp/<teacher>`` where log-probs are what the loss looks at."""
        if self.wanted & LOGITS:
            self.log_validation(self.compute_loss(self._compared(batch)), batch)
            return
        scores = self.student.score(batch)
        output = self.compute_loss(self.quantities(batch, scores))
        self.log_validation(output, batch, of_texts(scores.logps, batch.sources))

    def quantities(self, batch: BranchBatch, scores: Scores) -> dict[str, Any]:
        """One column per teacher.

        - ``[B, U]``: ``logps`` (nats), ``lengths``, ``weight`` (as configured, 0 where absent), ``present`` (bool);
        - ``[B, U, T]``: ``token_logps`` (0 where masked), ``mask`` (1 on scored tokens); of teachers that give logits
          instead ``divergence`` or ``mixture_divergence`` (nats), see `losses.kl`.
        """
        return dict(
            logps=scores.logps,
            token_logps=scores.token_logps,
            lengths=scores.lengths,
            mask=batch.branch_mask,
            weight=batch.weight,
            present=batch.present,
        )

    def _compared(self, batch: BranchBatch) -> dict[str, Any]:
        name = next(iter(self.wanted & LOGITS))
        teachers = dict(zip(self.names, self.models, strict=True)) | self.recorded
        values = self.student.compare(batch, teachers, self.loss.rows, mixed=name == "mixture_divergence")
        return {name: values, "mask": batch.branch_mask, "weight": batch.weight, "present": batch.present}
