"""Gradient balance: t+ and the teachers move the student by as much."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from apo_lightning.functional.logprobs import sequence_logps
from apo_lightning.functional.preference import listwise_nll, pairwise_nll
from apo_lightning.functional.preference_variants import rescaled
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import Candidates, PreferenceLoss
from apo_lightning.types import LossOutput


@LOSSES.register("apo_balanced")
@dataclass(frozen=True, kw_only=True)
class ApoBalanced(PreferenceLoss):
    """Makes t+ more likely than the teachers' texts, with the pull up and the push down balanced against each other.

    ``apo_listwise`` or ``apo_pairwise``, whose gradient reaches t+ times ``a`` and the teachers times ``1/a``:
    reward calibration (arXiv 2604.18239).

    ``a = exp(log_norm_ratio / 2)``, where the ratio is that of the norms of the gradients of the teachers' and of t+'s
    log-prob with respect to the trained parameters, smoothed over steps by the stage. DPO weighs both sides alike
    (``d_w / d_l = 1`` in the paper), so the answer whose log-prob has the larger gradient, which is that of the less
    likely text, moves the student by more than the other. Values are those of the loss that it stands on. The NLL is
    not rescaled. N teachers, by their weights, are ours; the paper has one rejected answer.

    Attributes:
        form: ``pairwise``, the paper's on every pair of a study, or ``listwise``.
    """

    form: Literal["pairwise", "listwise"] = "pairwise"

    def __call__(
        self,
        *,
        policy_token_logps: Tensor,
        reference_token_logps: Tensor,
        mask: Tensor,
        weight: Tensor,
        present: Tensor,
        log_norm_ratio: Tensor,
    ) -> LossOutput:
        """See `PreferenceLoss`; ``log_norm_ratio``: a number, ``log |grad log p(teachers)| - log |grad log p(t+)|``."""
        half = log_norm_ratio.to(policy_token_logps) / 2
        factor = torch.cat([half.exp().view(1, 1, 1), (-half).exp().expand(1, present.shape[1] - 1, 1)], dim=1)
        balanced = rescaled(policy_token_logps, factor)
        seen = self.candidates(balanced, reference_token_logps, mask, weight, present)
        plain, _ = sequence_logps(policy_token_logps, mask.bool() & present[..., None])
        output = self.output(replace(seen, logps=plain), self.preference(seen))
        return replace(output, metrics={**output.metrics, "log_norm_ratio": log_norm_ratio.detach().float()})

    def preference(self, seen: Candidates) -> Tensor:
        term = pairwise_nll if self.form == "pairwise" else listwise_nll
        return term(seen.rewards, seen.weight, seen.counted, self.label_smoothing)
