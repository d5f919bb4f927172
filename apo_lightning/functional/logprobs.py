"""Sums and means of tokens' log-probabilities."""

from __future__ import annotations

import torch
from torch import Tensor


def sequence_logps(token_logps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the scored tokens' log-probabilities, and how many they are.

    Args:
        token_logps: ``[..., T]``.
        mask: ``[..., T]`` 1 on scored tokens; values elsewhere are ignored, NaN included.

    Returns:
        sums ``[...]`` in the dtype of ``token_logps`` and lengths ``[...]`` int64; both 0 where nothing is scored.
    """
    scored = mask.bool()
    return torch.where(scored, token_logps, 0).sum(-1), scored.sum(-1)


def length_normalized(logps: Tensor, lengths: Tensor) -> Tensor:
    """Mean log-probability per token, from sums and token counts of one shape; a sequence without tokens gives 0."""
    return logps / lengths.to(logps.dtype).clamp_min(1)


def masked_mean(values: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Mean of ``values`` where ``mask`` is 1, over everything or along ``dim``.

    Values elsewhere are ignored, NaN included; where nothing is unmasked the mean is 0 with zero gradient.
    """
    kept = mask.bool()
    dims = tuple(range(values.dim())) if dim is None else (dim,)
    return torch.where(kept, values, 0).sum(dims) / kept.sum(dims).clamp_min(1)
