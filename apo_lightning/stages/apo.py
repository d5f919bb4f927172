"""Critique: the preferred trajectory against the raw teacher trajectories, under an injected preference loss."""

from __future__ import annotations

from typing import Any

from apo_lightning.stages import STAGES
from apo_lightning.stages.base import Stage
from apo_lightning.types import BranchBatch

CHOSEN = frozenset({"chosen_logps", "chosen_lengths", "chosen_present"})


@STAGES.register("apo")
class APO(Stage):
    """`r(t) = beta log(pi(t|v,l) / ref(t|v,l))`, the reference being the student after SPD.

    Slot 0 of every study is t+, scored under the plain prompt: the student that is trained never sees the teachers.
    A loss that asks for the ``chosen_*`` quantities alone (plain fine-tuning on t+) is not charged for the teachers.
    """

    name = "apo"
    provides = frozenset({"policy_logps", "reference_logps", "lengths", "weight", "present", "generator"}) | CHOSEN

    def training_step(self, batch: BranchBatch, batch_idx: int) -> dict[str, Any]:
        if self.wanted <= CHOSEN:
            batch = batch.first(1)
        policy = self.student.score(batch)
        given = dict(
            policy_logps=policy.logps, lengths=policy.lengths, weight=batch.weight, present=batch.present,
            generator=self.generator, chosen_logps=policy.logps[:, 0], chosen_lengths=policy.lengths[:, 0],
            chosen_present=batch.present[:, 0],
        )  # fmt: skip
        if "reference_logps" in self.wanted:
            with self.student.reference():  # under the policy's padding: rewards are exactly 0 before the first update
                given["reference_logps"] = self.student.score(batch).logps
        output = self.loss(**{name: given[name] for name in self.wanted})
        return self.finish(output, batch, policy_logps=policy.logps.detach())
