"""SPD for teachers that give logits: the student against the weighted mixture of all teachers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from apo_lightning.losses import LOSSES
from apo_lightning.losses.kl import KlLoss
from apo_lightning.types import LossOutput


@LOSSES.register("spd_mixture_kl")
@dataclass(frozen=True, kw_only=True)
class SpdMixtureKl(KlLoss):
    """Learns from the mean of the teachers' probabilities of next words.

    ``sum_u w_u D(sum_v w_v pi_v, q)`` over trajectories u, with ``sum_u w_u = 1``: the KL of the mixture.

    At one token state, with m the mixture, ``sum_u w_u KL(pi_u || q) = KL(m || q) + sum_u w_u KL(pi_u || m)``, and the
    last sum does not depend on q: ``forward`` KL of the mixture and the mixture of forward KLs of arXiv 2510.04142
    have the same gradient and the same minimiser q = m. ``spd_kl`` differs in that it compares teacher u at the tokens
    of trajectory u alone. For ``reverse`` and ``jensen_shannon`` the two are different losses.
    """

    def __call__(self, *, mixture_divergence: Tensor, mask: Tensor, weight: Tensor, present: Tensor) -> LossOutput:
        """``mixture_divergence`` and ``mask`` (1 on scored tokens) ``[B, U, T]``, the others ``[B, U]``.

        ``mixture_divergence[b, u, t]`` is taken against the mixture of all the study's teachers at token t of
        trajectory u. Metric: ``divergence`` a token, by teacher weight, without the factor of the temperature.
        """
        return self.reduced(mixture_divergence, mask, weight, present)
