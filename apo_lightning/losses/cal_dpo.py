"""Cal-DPO: the rewards have a scale of their own, and not their difference alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from apo_lightning.functional.preference_variants import calibrated_nll
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import Candidates, PreferenceLoss


@LOSSES.register("cal_dpo")
@dataclass(frozen=True, kw_only=True)
class CalDpo(PreferenceLoss):
    """Makes t+ more likely than each teacher's text, and holds how much more to a fixed scale.

    ``1/N sum_u w_u (-log sigmoid(h_+ - h_u) + calibration ((h_+ - 1/2beta)^2 + (h_u + 1/2beta)^2))``.

    With ``h = log pi - log ref`` and ``sum_u w_u = N`` (arXiv 2412.14516). The first term has no beta: it is that of
    DPO with beta 1. The squares draw h_+ to 1/2beta and h_u to -1/2beta, and an h_+ above 1/2beta back down. Label
    smoothing is that of conservative DPO, in the first term.

    Attributes:
        calibration: weight of the squares, >= 0. 1 in the paper's equation; the authors' released trainer has 0.5.
    """

    pulls_up: ClassVar[bool] = False

    calibration: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.calibration < float("inf"):
            raise ValueError(f"calibration must be >= 0, got {self.calibration}")

    def preference(self, seen: Candidates) -> Tensor:
        ratios, target = seen.rewards / self.beta, 1 / (2 * self.beta)
        return calibrated_nll(ratios, seen.weight, seen.counted, target, self.calibration, self.label_smoothing)
