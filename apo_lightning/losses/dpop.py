"""DPO-Positive: the margin pays for a preferred answer that falls below the reference."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from apo_lightning.functional.preference import pairwise_nll
from apo_lightning.functional.preference_variants import as_rewards, dpop_margins
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import Candidates, PreferenceLoss


@LOSSES.register("dpop")
@dataclass(frozen=True, kw_only=True)
class Dpop(PreferenceLoss):
    """Makes t+ more likely than each teacher's text, with a penalty where t+ itself becomes less likely.

    ``1/N sum_u w_u (-log sigmoid(r_+ - r_u - penalty max(0, -r_+)))`` with ``sum_u w_u = N`` (arXiv 2402.13228).

    DPO is content with an r_+ that falls as long as r_u falls faster; here it is not. Without a penalty, or where no
    r_+ is below 0, it is ``apo_pairwise``. Label smoothing is that of conservative DPO, of the whole margin.

    Attributes:
        penalty: lambda of the paper, >= 0; 50 there.
    """

    penalty: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.penalty < float("inf"):
            raise ValueError(f"penalty must be >= 0, got {self.penalty}")

    def preference(self, seen: Candidates) -> Tensor:
        rewards = as_rewards(dpop_margins(seen.rewards, self.penalty))
        return pairwise_nll(rewards, seen.weight, seen.counted, self.label_smoothing)
