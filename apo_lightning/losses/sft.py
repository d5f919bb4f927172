"""Plain fine-tuning on the preferred answer: the control without negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_lightning.functional.logprobs import masked_mean
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import NllReduction, nll
from apo_lightning.settings.checks import check_choices
from apo_lightning.types import LossOutput, detached


@LOSSES.register("sft")
@dataclass(frozen=True, kw_only=True)
class Sft:
    """Plain fine-tuning on t+: the student learns to write it.

    ``-log pi(t+ | image, question)``, the mean over studies that have a preferred answer.

    Attributes:
        reduction: ``token_mean`` divides each answer by its own token count; ``sequence_sum`` does not.
        linear: the gradient does not depend on the log-probs, so a scorer may back up each branch as soon as it is
            computed.
    """

    reduction: NllReduction
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choices(self)

    def __call__(self, *, chosen_logps: Tensor, chosen_lengths: Tensor, chosen_present: Tensor) -> LossOutput:
        """All arguments ``[B]``. Metrics: ``nll`` a token and ``logp_chosen`` a sequence."""
        logps = torch.where(chosen_present, chosen_logps, 0)
        per_study = nll(logps, chosen_lengths, self.reduction)
        per_token = nll(logps, chosen_lengths, "token_mean")
        metrics = detached(nll=masked_mean(per_token, chosen_present), logp_chosen=masked_mean(logps, chosen_present))
        counts = dict.fromkeys(("loss", *metrics), chosen_present.sum())
        return LossOutput(masked_mean(per_study, chosen_present), per_study, metrics, counts)
