"""The preferred answer first, then the teachers in an order of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from apo_lightning.functional.preference import plackett_luce_nll
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import PreferenceLoss
from apo_lightning.types import LossOutput


@LOSSES.register("apo_plackett_luce")
@dataclass(frozen=True, kw_only=True)
class ApoPlackettLuce(PreferenceLoss):
    """Teaches a whole order: t+ before the teachers' texts, and these by weight or agreement.

    ``l_+ + sum_u w_u l_u``, ``l_k = -log( exp r_k / (exp r_k + sum_{j ranked below k} w_j exp r_j) )``.

    The Plackett-Luce likelihood (arXiv 2305.18290, appendix A.3) of the order "t+, then the teachers", of which
    ``apo_listwise`` keeps the first choice only. Equal teachers are tied and not ordered: with all tied it *is*
    ``apo_listwise``. Where policy and reference are one model and nobody is tied it is log((N+1)!). Label smoothing
    gives its share to those ranked below, in every choice.

    Attributes:
        order: teachers by their ``weight`` or by their ``agreement`` with t+, highest first. By weight, the weights
            are used up in the order and every teacher counts once: a trusted teacher ranks higher and is not also
            pushed down harder. By agreement, weights are copies of a teacher with ``sum_u w_u = N``, as in the other
            losses. Not given by the paper.
    """

    reduces_to_dpo: ClassVar[bool] = True

    order: Literal["weight", "agreement"]

    def __call__(
        self,
        *,
        policy_token_logps: Tensor,
        reference_token_logps: Tensor,
        mask: Tensor,
        weight: Tensor,
        present: Tensor,
        agreement: Tensor,
    ) -> LossOutput:
        """Tensors as in `PreferenceLoss`; ``agreement`` ``[B, 1+N]`` in [0, 1], slot 0 unused.

        Raises:
            ValueError: the agreement of a teacher that counts is outside [0, 1].
        """
        seen = self.candidates(policy_token_logps, reference_token_logps, mask, weight, present)
        rank, copies = seen.weight, seen.counted.to(seen.weight.dtype)
        if self.order == "agreement":
            rank, copies = _checked(agreement[:, 1:], seen.counted), seen.weight
        return self.output(seen, plackett_luce_nll(seen.rewards, copies, seen.counted, rank, self.label_smoothing))


def _checked(agreement: Tensor, counted: Tensor) -> Tensor:
    """``agreement`` where the teacher counts, 0 elsewhere."""
    kept = torch.where(counted, agreement, 0)
    bad = ~((kept >= 0) & (kept <= 1))
    if bad.any():
        raise ValueError(f"agreement must be in [0, 1], got {kept[bad][0].item()}")
    return kept
