"""Context distillation: what the student says when it reads all teachers, without any of them."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from apo_lightning.batching.informed import InformedBatch
from apo_lightning.errors import ConfigError
from apo_lightning.models import in_context
from apo_lightning.stages import STAGES
from apo_lightning.stages.base import Stage
from apo_lightning.types import BranchBatch, Scores


@STAGES.register("context_distill")
class ContextDistill(Stage):
    """`min D(q(. | v, l, tau_1 .. tau_N), pi(. | v, l))` at every token of t+, see `losses.context_kl`.

    q is the student before the stage, under the prompt of self-distillation; pi is the student that is trained, under
    the plain prompt. The teachers' texts are read and never scored. The tokens are those that q wrote, or whatever the
    strategy for t+ chose, or in a share of the steps (the loss's ``on_policy``) those that pi writes then. It is
    validated on t+ alone.
    """

    name = "context_distill"
    reads: ClassVar[tuple[str, ...]] = ("trajectories", "preferred")
    reads_reports: ClassVar[bool] = True
    """Its batches have the prompt with all teachers' texts beside the plain one (`batching.informed`)."""
    provides = frozenset({"context_divergence", "mask", "present"})

    def configure_model(self) -> None:
        """
        Raises:
            ConfigError: parameters are sharded, which this comparison does not go through.
        """
        if self.device_mesh is not None:
            raise ConfigError(
                f"stages.{self.name} cannot be trained under trainer.strategy fsdp2, which takes the student apart. "
                "Take ddp or one device."
            )
        super().configure_model()

    def training_step(self, batch: InformedBatch, batch_idx: int) -> dict[str, Any]:
        batch = self._answered(batch.first(1))
        return self.log_loss(self.compute_loss(self._compared(batch)), batch)

    def validation_step(self, batch: InformedBatch, batch_idx: int) -> None:
        """Loss and its metrics."""
        self.log_validation(self.compute_loss(self._compared(batch.first(1))), batch)

    def quantities(self, batch: BranchBatch, scores: Scores) -> dict[str, Any]:
        """Of t+, in column 0: ``context_divergence`` ``[B, 1, T]`` (nats, 0 where masked), ``mask`` ``[B, 1, T]`` (1 on
        scored tokens), ``present`` ``[B, 1]``. ``scores`` are divergences in the place of log-probs."""
        return {"context_divergence": scores.token_logps, "mask": batch.branch_mask, "present": batch.present}

    def _answered(self, batch: BranchBatch) -> BranchBatch:
        """With t+, or with what the student says now."""
        share = getattr(self.loss, "on_policy", 0.0)
        if torch.rand((), generator=self.generator) >= share:
            return batch
        return in_context.own_answers(self.student, batch, self.loss.max_new_tokens)

    def _compared(self, batch: BranchBatch) -> dict[str, Any]:
        assert isinstance(batch, InformedBatch)
        self.student.counts["reference passes"] += 1
        values = in_context.divergence(self.student, batch, batch.informed(), self.loss.rows)
        return {"context_divergence": values, "mask": batch.branch_mask, "present": batch.present}
