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
    """Teaches the student without the teachers' texts what it would say word for word with them.

    ``D(q(. | v, l, tau_1 .. tau_N, y_<t), pi(. | v, l, y_<t))`` at each token of y, over the whole vocabulary.

    q is the student before the stage, with all teachers' texts in its prompt (the "teacher" of ``kind``); pi is
    the student that is trained, under the plain prompt. ``forward`` is the loss of Snell et al. (arXiv 2209.15189),
    ``reverse`` that of arXiv 2602.12275, there on the student's own samples; ``jensen_shannon`` is GKD's (arXiv
    2306.13649). y is whatever stands in slot 0: t+, which q wrote, or in a share of the steps y ~ pi(. | v, l), drawn
    from the student as it then is. No gradient goes through the draw, as in GKD.

    Attributes:
        on_policy: the chance of a step to learn from the student's own answers, in [0, 1]; lambda of GKD.
        max_new_tokens: of such an answer.
    """

    on_policy: float = 0.0
    max_new_tokens: int = 160

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.on_policy <= 1:
            raise ValueError(f"on_policy must be in [0, 1], got {self.on_policy}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be >= 1, got {self.max_new_tokens}")

    def __call__(self, *, context_divergence: Tensor, mask: Tensor, present: Tensor) -> LossOutput:
        """``context_divergence`` and ``mask`` (1 on scored tokens) ``[B, 1+N, T]``, ``present`` ``[B, 1+N]``: slot 0
        counts, the others may hold anything.

        Metric: ``divergence`` a token, without the factor of the temperature.
        """
        here = present[:, :1]
        return self.reduced(context_divergence[:, :1], mask[:, :1], here.to(context_divergence.dtype), here)
