"""Context distillation: the student without its teachers' texts against itself with them in the prompt."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from apo_lightning.losses import LOSSES
from apo_lightning.losses.kl import KlLoss
from apo_lightning.types import LossOutput


@LOSSES.register("context_kl")
@dataclass(frozen=True, kw_only=True)
class ContextKl(KlLoss):
    """``D(q(. | v, l, tau_1 .. tau_N, y_<t), pi(. | v, l, y_<t))`` at each token of y, over the whole vocabulary.

    q is the student before the stage, with all teachers' texts in its prompt (the "teacher" of ``kind``); pi is
    the student that is trained, under the plain prompt. ``forward`` is the loss of Snell et al. (arXiv 2209.15189),
    ``reverse`` that of arXiv 2602.12275, there on the student's own samples; ``jensen_shannon`` is GKD's (arXiv
    2306.13649). y is whatever stands in slot 0: t+, which q wrote.
    """

    def __call__(self, *, context_divergence: Tensor, mask: Tensor, present: Tensor) -> LossOutput:
        """``context_divergence`` and ``mask`` (1 on scored tokens) ``[B, 1+N, T]``, ``present`` ``[B, 1+N]``: slot 0
        counts, the others may hold anything.

        Metric: ``divergence`` a token, without the factor of the temperature.
        """
        here = present[:, :1]
        return self.reduced(context_divergence[:, :1], mask[:, :1], here.to(context_divergence.dtype), here)
