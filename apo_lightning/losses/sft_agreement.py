"""Fine-tuning on the preferred answer, on each of its sentences by how many teachers agree with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from apo_lightning.functional.logprobs import length_normalized, masked_mean, sequence_logps
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import NllReduction, nll
from apo_lightning.settings.checks import check_choices
from apo_lightning.types import LossOutput, detached


@LOSSES.register("sft_agreement")
@dataclass(frozen=True, kw_only=True)
class SftAgreement:
    """Fine-tuning on t+ in which a sentence counts the more, the more teachers agree with it.

    ``-sum_i a_i log pi(t+_i) / sum_i a_i``, the mean over studies that have a preferred answer; ours.

    a_i is the share of the teachers who agree with the sentence of token i, among those who speak of what it states; 1
    where nobody does, and for tokens that state nothing. Where all agree it is ``sft``. A study whose tokens all weigh
    0 has the value 0. It does not say that it is ``linear``: then all tokens of a branch would get one factor.

    Attributes:
        reduction: ``token_mean`` as above; ``sequence_sum`` does not divide by the sum of the weights.
    """

    reduction: NllReduction

    def __post_init__(self) -> None:
        check_choices(self)

    def __call__(
        self, *, chosen_token_logps: Tensor, chosen_mask: Tensor, chosen_present: Tensor, chosen_agreement: Tensor
    ) -> LossOutput:
        """``chosen_present`` ``[B]``, the others ``[B, T]``; what is not scored may hold anything.

        Metrics: ``nll`` a token and ``logp_chosen`` a sequence, both unweighted, ``agreement`` the mean weight of a
        token; all over studies.

        Raises:
            ValueError: the agreement of a scored token is outside [0, 1].
        """
        scored = chosen_mask.bool() & chosen_present[:, None]
        share = _checked(chosen_agreement, scored).to(chosen_token_logps.dtype)
        weighted, _ = sequence_logps(share * torch.where(scored, chosen_token_logps, 0), scored)
        total, logps = share.sum(-1), sequence_logps(chosen_token_logps, scored)
        per_study = -weighted / torch.where(total > 0, total, 1) if self.reduction == "token_mean" else -weighted
        values = {
            "nll": nll(*logps, "token_mean"),
            "logp_chosen": logps[0],
            "agreement": length_normalized(total, logps[1]),
        }
        metrics = detached(**{name: masked_mean(value, chosen_present) for name, value in values.items()})
        counts = dict.fromkeys(("loss", *metrics), chosen_present.sum())
        return LossOutput(masked_mean(per_study, chosen_present), per_study, metrics, counts)


def _checked(agreement: Tensor, scored: Tensor) -> Tensor:
    """``agreement`` where scored, 0 elsewhere."""
    kept = torch.where(scored, agreement, 0)
    bad = ~((kept >= 0) & (kept <= 1))
    if bad.any():
        raise ValueError(f"chosen_agreement must be in [0, 1], got {kept[bad][0].item()}")
    return kept
