"""The paper's loss: the preferred answer against all teachers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from apo_lightning.functional.preference import listwise_nll
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import Candidates, PreferenceLoss


@LOSSES.register("apo_listwise")
@dataclass(frozen=True, kw_only=True)
class ApoListwise(PreferenceLoss):
    """Makes t+ more likely than all teachers' texts at once; the paper's loss.

    ``-log( exp r_+ / (exp r_+ + sum_u w_u exp r_u) )`` with ``sum_u w_u = N`` (arXiv 2510.04142).

    Where policy and reference are one model it is log(1+N). Label smoothing is a cross-entropy whose target gives that
    share to the teachers, by weight. TRL's ``apo_zero`` and ``apo_down`` are another method.
    """

    reduces_to_dpo: ClassVar[bool] = True

    def preference(self, seen: Candidates) -> Tensor:
        return listwise_nll(seen.rewards, seen.weight, seen.counted, self.label_smoothing)
