"""What every loss shares: the check against its stage, the reductions, and the frame of the preference losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from apo_lightning.errors import ConfigError
from apo_lightning.functional.logprobs import length_normalized, masked_mean
from apo_lightning.functional.mixture import normalize_weights
from apo_lightning.functional.preference import implicit_rewards, reward_metrics
from apo_lightning.losses import LOSSES
from apo_lightning.types import LossOutput, detached

NllReduction = Literal["token_mean", "sequence_sum"]
"""``token_mean``: an answer's sum of token log-probs over its own token count; ``sequence_sum``: the sum itself."""


def needs(loss: Callable[..., LossOutput]) -> frozenset[str]:
    """Names of the quantities that ``loss`` (an instance or its class) asks for: the keywords of its ``__call__``."""
    parameters = inspect.signature(loss.__call__).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def bind(loss: Callable[..., LossOutput], provided: Set[str], stage: str) -> frozenset[str]:
    """Check that ``stage`` provides what ``loss`` needs, when the run is built and not at step 1.

    Returns:
        the names to pass to the loss.

    Raises:
        ConfigError: something is missing; the message names it and what the stage provides.
    """
    needed = needs(loss)
    missing = sorted(needed - provided)
    if missing:
        name = next((n for n, kind in LOSSES.items() if kind is type(loss)), type(loss).__name__)
        raise ConfigError(
            f"Loss '{name}' needs {', '.join(missing)}, which stage '{stage}' does not provide. "
            f"It provides: {', '.join(sorted(provided)) or 'nothing'}. Choose another loss for this stage."
        )
    return needed


def check_choices(settings: object) -> None:
    """Refuse a value outside the ``Literal`` its field is annotated with.

    Raises:
        ValueError: names the field, the allowed values and the value.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ValueError(f"{name} must be one of {', '.join(get_args(hint))}, got {value!r}")


def nll(logps: Tensor, lengths: Tensor, reduction: NllReduction) -> Tensor:
    """Negative log-likelihood of each answer, from sums of token log-probs and token counts of one shape."""
    return -(length_normalized(logps, lengths) if reduction == "token_mean" else logps)


@dataclass(frozen=True)
class Candidates:
    """The answers of a batch as a preference loss sees them; what does not count is 0, never NaN.

    Attributes:
        logps: ``[B, 1+N]`` policy log-probs, summed over tokens.
        lengths: ``[B, 1+N]`` token counts.
        rewards: ``[B, 1+N]`` implicit rewards.
        preferred: ``[B]`` bool, the study has a preferred answer.
        weight: ``[B, N]`` teacher weights, normalised to the number of teachers that count.
    """

    logps: Tensor
    lengths: Tensor
    rewards: Tensor
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
    negative log-prob a token of the preferred answer, as in RPO (arXiv 2404.19733), whatever ``reduction`` says. A
    study without a preferred answer contributes nothing; one without a teacher that counts contributes its nll only.

    Attributes:
        beta: scale of the rewards, > 0. Not given by the paper.
        nll_weight: weight of the likelihood of the preferred answer, >= 0. The paper's equation has 0.
        reduction: rewards from the ``sum`` (DPO) or ``mean`` of an answer's token log-probs. Not given by the paper.
        label_smoothing: share of the preference labels taken to be wrong, in [0, 0.5).
    """

    beta: float
    nll_weight: float
    reduction: Literal["sum", "mean"]
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.beta < float("inf"):
            raise ValueError(f"beta must be > 0, got {self.beta}")
        if not 0 <= self.nll_weight < float("inf"):
            raise ValueError(f"nll_weight must be >= 0, got {self.nll_weight}")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}")
        check_choices(self)

    def candidates(
        self, *, policy_logps: Tensor, reference_logps: Tensor, lengths: Tensor, weight: Tensor, present: Tensor
    ) -> Candidates:
        """Rewards and weights of what counts. All ``[B, 1+N]``, slot 0 the preferred answer; its weight is unused."""
        policy, reference = torch.where(present, policy_logps, 0), torch.where(present, reference_logps, 0)
        compared = (policy, reference)
        if self.reduction == "mean":
            compared = (length_normalized(policy, lengths), length_normalized(reference, lengths))
        preferred = present[:, 0]
        teachers = present[:, 1:] & preferred[:, None]
        share = normalize_weights(weight[:, 1:].to(policy.dtype), teachers, total="count")
        return Candidates(policy, lengths, implicit_rewards(*compared, self.beta), preferred, share)

    def output(self, seen: Candidates, preference: Tensor) -> LossOutput:
        """Loss and metrics from the preference term of each study ``[B]``.

        Means run over studies with a preferred answer (``preference``, ``nll``, ``logp_chosen``) or over those that
        also have a teacher that counts (the others; first over the teachers of a study). ``logp_*`` sum over tokens.
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
        return LossOutput(masked_mean(per_study, seen.preferred), per_study, detached(**metrics))
