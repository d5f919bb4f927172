"""SPD for teachers that give only text: weighted likelihood of their trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_lightning.functional.logprobs import masked_mean
from apo_lightning.functional.mixture import normalize_weights
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import NllReduction, nll
from apo_lightning.settings.checks import check_choices
from apo_lightning.types import LossOutput, detached


@LOSSES.register("spd_nll")
@dataclass(frozen=True, kw_only=True)
class SpdNll:
    """Learns to write all teachers' texts, each by its weight.

    ``-sum_u w_u log q(tau_u | image, question)`` with ``sum_u w_u = 1`` over the study's teachers.

    Up to a constant this is ``sum_u w_u KL(pi_u || q)`` of arXiv 2510.04142 with each teacher's one text as its sample.
    The loss is the mean over studies that have at least one teacher of weight above 0.

    Attributes:
        reduction: ``token_mean`` divides each trajectory by its own token count before the weights apply, so that a
            long-winded teacher pulls no harder than a terse one; ``sequence_sum`` is the equation as it stands.
        linear: the gradient does not depend on the log-probs, so a scorer may back up each branch as soon as it is
            computed.
    """

    reduction: NllReduction
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choices(self)

    def __call__(self, *, logps: Tensor, lengths: Tensor, weight: Tensor, present: Tensor) -> LossOutput:
        """All arguments ``[B, U]``. Metrics, by teacher weight: ``nll`` a token and ``logp`` a sequence."""
        share = normalize_weights(weight.to(logps.dtype), present, total=1.0)
        counted = share > 0
        logps = torch.where(counted, logps, 0)
        per_study = (share * nll(logps, lengths, self.reduction)).sum(-1)
        per_token = (share * nll(logps, lengths, "token_mean")).sum(-1)
        studies = counted.any(-1)
        metrics = detached(nll=masked_mean(per_token, studies), logp=masked_mean((share * logps).sum(-1), studies))
        counts = dict.fromkeys(("loss", *metrics), studies.sum())
        return LossOutput(masked_mean(per_study, studies), per_study, metrics, counts)
