"""The preferred answer against each teacher in turn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from apo_lightning.functional.preference import pairwise_nll
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import PreferenceLoss
from apo_lightning.types import LossOutput


@LOSSES.register("apo_pairwise")
@dataclass(frozen=True, kw_only=True)
class ApoPairwise(PreferenceLoss):
    """``1/N sum_u w_u (-log sigmoid(r_+ - r_u))`` with ``sum_u w_u = N``: DPO on every pair of a study.

    Where policy and reference are one model it is log 2. Label smoothing is that of conservative DPO, in every pair.
    """

    def __call__(
        self, *, policy_logps: Tensor, reference_logps: Tensor, lengths: Tensor, weight: Tensor, present: Tensor
    ) -> LossOutput:
        """All arguments ``[B, 1+N]``, slot 0 the preferred answer."""
        seen = self.candidates(
            policy_logps=policy_logps, reference_logps=reference_logps, lengths=lengths, weight=weight, present=present
        )
        return self.output(seen, pairwise_nll(seen.rewards, seen.weight, seen.counted, self.label_smoothing))
