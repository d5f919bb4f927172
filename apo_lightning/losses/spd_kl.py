"""SPD for teachers that give logits: the student against each teacher in turn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from apo_lightning.losses import LOSSES
from apo_lightning.losses.kl import KlLoss
from apo_lightning.types import LossOutput


@LOSSES.register("spd_kl")
@dataclass(frozen=True, kw_only=True)
class SpdKl(KlLoss):
    """Learns from the teachers' probabilities of next words, teacher by teacher.

    ``sum_u w_u D(pi_u, q)`` with ``sum_u w_u = 1``: the mixture of KLs of arXiv 2510.04142 where D is ``forward``.

    Teacher u and the student are compared at each token of trajectory u. ``spd_mixture_kl`` has the relation between
    this loss and the KL of the mixture.
    """

    def __call__(self, *, divergence: Tensor, mask: Tensor, weight: Tensor, present: Tensor) -> LossOutput:
        """``divergence`` and ``mask`` (1 on scored tokens) ``[B, U, T]``, the others ``[B, U]``.

        Metric: ``divergence`` a token, by teacher weight, without the factor of the temperature.
        """
        return self.reduced(divergence, mask, weight, present)
