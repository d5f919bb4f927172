"""DPO-Shift: the teachers' rewards count less than that of the preferred answer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from apo_lightning.functional.preference import pairwise_nll
from apo_lightning.functional.preference_variants import as_rewards, shifted_margins
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import Candidates, PreferenceLoss


@LOSSES.register("dpo_shift")
@dataclass(frozen=True, kw_only=True)
class DpoShift(PreferenceLoss):
    """Makes t+ more likely than each teacher's text, with the teachers' part of the loss turned down.

    ``1/N sum_u w_u (-log sigmoid(r_+ - factor r_u))`` with ``sum_u w_u = N`` (arXiv 2502.07599).

    Pushing the teachers down earns less than pulling t+ up, at the price of a smaller margin. With 1 it is
    ``apo_pairwise``. Label smoothing is that of conservative DPO, of the whole margin.

    Attributes:
        factor: f(lambda) of the paper, in (0, 1]. A constant: its schedules over the steps are left out.
    """

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor must be in (0, 1], got {self.factor}")

    def preference(self, seen: Candidates) -> Tensor:
        rewards = as_rewards(shifted_margins(seen.rewards, self.factor))
        return pairwise_nll(rewards, seen.weight, seen.counted, self.label_smoothing)
