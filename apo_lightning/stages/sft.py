"""Plain fine-tuning on the preferred trajectory, before the critique or in its place."""

from __future__ import annotations

from typing import ClassVar

from apo_lightning.stages import STAGES
from apo_lightning.stages.apo import APO, CHOSEN
from apo_lightning.types import BranchBatch


@STAGES.register("sft")
class SFT(APO):
    """``-log pi(t+ | v, l)``. A critique behind it begins with what it leaves, and has that as its reference, as in
    OPA-DPO (arXiv 2501.09695); without SPD before it, t+ is the base student's. The teachers' texts are never
    scored, in training or validation."""

    name = "sft"
    provides: ClassVar[frozenset[str]] = CHOSEN

    def validation_step(self, batch: BranchBatch, batch_idx: int) -> None:
        super().validation_step(batch.first(1), batch_idx)
