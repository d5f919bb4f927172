"""What every loss shares: the check against its stage, and the reductions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Set
from typing import Literal

from torch import Tensor

from apo_lightning.errors import ConfigError
from apo_lightning.functional.logprobs import length_normalized
from apo_lightning.losses import LOSSES
from apo_lightning.types import LossOutput

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
        fitting = sorted(other for other, kind in LOSSES.items() if needs(kind) <= provided)
        raise ConfigError(
            f"Loss '{name}' needs {', '.join(missing)}, which stage '{stage}' does not provide. "
            f"It provides: {', '.join(sorted(provided)) or 'nothing'}. "
            f"Losses for this stage: {', '.join(fitting) or 'none'}."
        )
    return needed


def nll(logps: Tensor, lengths: Tensor, reduction: NllReduction) -> Tensor:
    """Negative log-likelihood of each answer, from sums of token log-probs and token counts of one shape."""
    return -(length_normalized(logps, lengths) if reduction == "token_mean" else logps)
