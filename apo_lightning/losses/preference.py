"""The frame of the losses that compare the preferred answer with the teachers' answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from apo_lightning.functional.logprobs import length_normalized, masked_mean, sequence_logps
from apo_lightning.functional.mixture import normalize_weights
from apo_lightning.functional.preference import desensitize_length, implicit_rewards, reward_metrics
from apo_lightning.losses.base import nll
from apo_lightning.settings.checks import check_choices
from apo_lightning.types import LossOutput, detached


@dataclass(frozen=True)
class Candidates:
    """The answers of a batch as a preference loss sees them; what does not count is 0, never NaN.

    Attributes:
        logps: ``[B, 1+N]`` policy log-probs, summed over all scored tokens.
        lengths: ``[B, 1+N]`` counts of all scored tokens.
        rewards: ``[B, 1+N]`` implicit rewards under the settings of the loss.
        reference: ``[B, 1+N]`` log-probs under the reference that the rewards are made with, a constant.
        preferred: ``[B]`` bool, the study has a preferred answer.
        weight: ``[B, N]`` teacher weights, normalised to the number of teachers that count.
    """

    logps: Tensor
    lengths: Tensor
    rewards: Tensor
    reference: Tensor
    preferred: Tensor
    weight: Tensor

    @property
    def counted(self) -> Tensor:
        """``[B, N]`` bool: the teacher is present, has a weight above 0, and there is a preferred answer to beat it."""
        return self.weight > 0


@dataclass(frozen=True, kw_only=True)
class PreferenceLoss:
    """Settings and bookkeeping of the losses that compare the preferred answer with the teachers' answers.

    ``loss = mean over studies with a preferred answer of (preference + nll_weight * nll)``, where nll is the mean
    negative log-prob a token of the preferred answer, as in RPO (arXiv 2404.19733), whatever ``reduction`` and
    ``length_alpha`` say. A study without a preferred answer contributes nothing; one without a teacher that counts
    contributes its nll only.

    A subclass gives ``preference``. One that needs more than the quantities below overrides ``__call__`` instead. What
    it declares is held against it by the contract tests.

    Attributes:
        beta: scale of the rewards, > 0. Not given by the paper.
        nll_weight: weight of the likelihood of the preferred answer, >= 0. The paper's equation has 0.
        reduction: rewards from the ``sum`` (DPO) or ``mean`` of an answer's token log-probs. Not given by the paper.
        label_smoothing: share of the preference labels taken to be wrong, in [0, 0.5).
        length_alpha: what a token behind the length of the study's shortest answer counts in a reward, in [0, 1]
            (LD-DPO, arXiv 2409.06411; see `desensitize_length`). 1 changes nothing; ``mean`` allows no other.
    """

    reduces_to_dpo: ClassVar[bool] = False
    """With one teacher of weight 1 it is DPO with the same settings."""
    weighs: ClassVar[bool] = True
    """Weights above 0 count by their size; a run that weights teachers differently for another loss is refused."""
    pulls_up: ClassVar[bool] = True
    """A step down its gradient lowers no token of the preferred answer; False of one that draws it to a target."""

    beta: float
    nll_weight: float
    reduction: Literal["sum", "mean"]
    label_smoothing: float = 0.0
    length_alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.beta < float("inf"):
            raise ValueError(f"beta must be > 0, got {self.beta}")
        if not 0 <= self.nll_weight < float("inf"):
            raise ValueError(f"nll_weight must be >= 0, got {self.nll_weight}")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}")
        if not 0 <= self.length_alpha <= 1:
            raise ValueError(f"length_alpha must be in [0, 1], got {self.length_alpha}")
        check_choices(self)
        if self.reduction == "mean" and self.length_alpha < 1:
            raise ValueError(
                f"length_alpha must be 1 with reduction 'mean', got {self.length_alpha}: it already removes length"
            )

    def __call__(
        self,
        *,
        policy_token_logps: Tensor,
        reference_token_logps: Tensor,
        mask: Tensor,
        weight: Tensor,
        present: Tensor,
    ) -> LossOutput:
        """Slot 0 is the preferred answer in all arguments; its weight is unused.

        Args:
            policy_token_logps: ``[B, 1+N, T]`` log-prob of each token under the student, with gradient.
            reference_token_logps: ``[B, 1+N, T]`` the same under the reference.
            mask: ``[B, 1+N, T]`` 1 on scored tokens; log-probs elsewhere are ignored, NaN included.
            weight: ``[B, 1+N]`` teacher weights >= 0 on any scale.
            present: ``[B, 1+N]`` bool.
        """
        seen = self.candidates(policy_token_logps, reference_token_logps, mask, weight, present)
        return self.output(seen, self.preference(seen))

    def preference(self, seen: Candidates) -> Tensor:
        """The preference term of each study ``[B]``, 0 where no teacher counts."""
        raise NotImplementedError(f"{type(self).__name__} must define preference(seen) or __call__")

    def candidates(
        self,
        policy_token_logps: Tensor,
        reference_token_logps: Tensor,
        mask: Tensor,
        weight: Tensor,
        present: Tensor,
        compared: Tensor | None = None,
    ) -> Candidates:
        """What a loss compares, from the arguments of ``__call__``.

        Args:
            compared: ``[B, 1+N, T]`` bool, the tokens that rewards are made of (and whose number is an answer's length
                for ``reduction`` and ``length_alpha``); by default all scored ones.

        Returns:
            the answers; a teacher without a compared token does not count, as if it were absent.
        """
        scored = mask.bool() & present[..., None]
        compared = scored if compared is None else scored & compared
        logps, lengths = sequence_logps(policy_token_logps, scored)
        preferred = present[:, 0]
        teachers = compared[:, 1:].any(-1) & preferred[:, None]
        share = normalize_weights(weight[:, 1:].to(logps.dtype), teachers, total="count")
        counted = torch.cat([preferred[:, None], share > 0], dim=-1)
        policy = self._answer_logps(policy_token_logps, compared, counted)
        reference = self._answer_logps(reference_token_logps, compared, counted).detach()
        rewards = implicit_rewards(policy, reference, self.beta)
        return Candidates(logps, lengths, rewards, reference, preferred, share)

    def _answer_logps(self, token_logps: Tensor, compared: Tensor, counted: Tensor) -> Tensor:
        """Log-probs of whole answers ``[B, 1+N]`` as the rewards take them."""
        tokens = desensitize_length(token_logps, compared, counted, self.length_alpha)
        logps, lengths = sequence_logps(tokens, compared)
        return length_normalized(logps, lengths) if self.reduction == "mean" else logps

    def output(self, seen: Candidates, preference: Tensor) -> LossOutput:
        """Loss and metrics from the preference term of each study ``[B]``.

        Means run over studies with a preferred answer (``preference``, ``nll``, ``logp_chosen``) or over those that
        also have a teacher that counts (the others; first over the teachers of a study). ``logp_*`` sum over all scored
        tokens, whatever the rewards are made of.
        """
        chosen_nll = nll(seen.logps[:, 0], seen.lengths[:, 0], "token_mean")
        per_study = torch.where(seen.preferred, preference + self.nll_weight * chosen_nll, 0)
        compared = seen.counted.any(-1)
        rejected = masked_mean(seen.logps[:, 1:], seen.counted, dim=-1)
        metrics = {name: masked_mean(v, compared) for name, v in reward_metrics(seen.rewards, seen.counted).items()}
        metrics["logp_rejected"] = masked_mean(rejected, compared)
        metrics["logp_chosen"] = masked_mean(seen.logps[:, 0], seen.preferred)
        metrics["nll"] = masked_mean(chosen_nll, seen.preferred)
        metrics["preference"] = masked_mean(preference, seen.preferred)
        counts = dict.fromkeys(metrics, compared.sum())
        counts |= dict.fromkeys(("loss", "logp_chosen", "nll", "preference"), seen.preferred.sum())
        counted = torch.cat([seen.preferred[:, None], seen.counted], dim=-1)
        rewards = seen.rewards.detach().masked_fill(~counted, torch.nan)
        return LossOutput(masked_mean(per_study, seen.preferred), per_study, detached(**metrics), counts, rewards)
