"""How much t+ and the teachers would move the student: norms of gradients, smoothed over steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from apo_lightning.functional.logprobs import masked_mean
from apo_lightning.functional.mixture import normalize_weights
from apo_lightning.types import BranchBatch, Scores

DECAY = 0.98
"""Share of the last value that stays, that of the authors of arXiv 2604.18239."""


class Balance:
    """``log |s_l| - log |s_w|``: s_w is the gradient of the mean log-prob of t+ with respect to ``parameters``, s_l
    that of the mean over studies of the teachers', by weight; both of the studies that have either. A moving average
    over micro-batches, which begins with the first.

    It costs two more backward passes a micro-batch. Of several processes each would see its own studies only, so a
    stage that runs in more than one is refused.
    """

    value: float | None = None

    @property
    def log_ratio(self) -> float:
        """0 before anything was measured."""
        return 0.0 if self.value is None else self.value

    def measure(self, scores: Scores, batch: BranchBatch, parameters: Sequence[Tensor]) -> None:
        """Take a micro-batch in. One in which nobody is compared, or a norm is 0, changes nothing."""
        preferred, teachers = batch.present[:, 0], batch.present[:, 1:] & batch.present[:, :1]
        share = normalize_weights(batch.weight[:, 1:].to(scores.logps), teachers, total=1.0)
        compared = preferred & (share > 0).any(-1)
        if not compared.any():
            return
        rejected = torch.where(share > 0, share * scores.logps[:, 1:], 0).sum(-1)
        chosen_norm = _norm(masked_mean(scores.logps[:, 0], compared), parameters)
        rejected_norm = _norm(masked_mean(rejected, compared), parameters)
        if not (0 < chosen_norm < math.inf and 0 < rejected_norm < math.inf):
            return
        now = math.log(rejected_norm) - math.log(chosen_norm)
        self.value = now if self.value is None else DECAY * self.value + (1 - DECAY) * now


def _norm(value: Tensor, parameters: Sequence[Tensor]) -> float:
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return math.sqrt(sum(float(each.double().square().sum()) for each in found if each is not None))
