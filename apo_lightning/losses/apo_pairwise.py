"""The preferred answer against each teacher in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from apo_lightning.functional.preference import pairwise_nll
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import Candidates, PreferenceLoss


@LOSSES.register("apo_pairwise")
@dataclass(frozen=True, kw_only=True)
class ApoPairwise(PreferenceLoss):
    """Makes t+ more likely than each teacher's text, pair by pair.

    ``1/N sum_u w_u (-log sigmoid(r_+ - r_u))`` with ``sum_u w_u = N``: DPO on every pair of a study.

    Where policy and reference are one model it is log 2. Label smoothing is that of conservative DPO, in every pair.
    """

    reduces_to_dpo: ClassVar[bool] = True

    def preference(self, seen: Candidates) -> Tensor:
        return pairwise_nll(seen.rewards, seen.weight, seen.counted, self.label_smoothing)
