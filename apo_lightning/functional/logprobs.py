"""Log-probabilities of tokens and sequences. The next-token shift lives here and nowhere else."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def token_logps(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every scored token given the tokens before it.

    The logits at position i - 1 predict the token at position i. Only scored positions are looked at, so logits and
    ids elsewhere may hold anything (padding, -100, NaN), and only scored rows are upcast to float32 (float64 stays).

    Args:
        logits: ``[R, T, V]`` raw scores of the next token.
        ids: ``[R, T]`` token ids.
        mask: ``[R, T]`` 1 on the tokens to score.

    Returns:
        ``[R, T]`` float32 (or float64); 0 where the mask is 0 and at position 0, which nothing stands before: keep its
        mask 0 too, or it is counted as a token of log-probability 0.
    """
    scored = mask[:, 1:].bool()
    rows = logits[:, :-1][scored]
    wanted = rows.gather(-1, ids[:, 1:][scored][:, None])[:, 0]
    wide = torch.promote_types(logits.dtype, torch.float32)
    values = wanted.to(wide) - torch.logsumexp(rows.to(wide), dim=-1)
    placed = torch.zeros(scored.shape, dtype=wide, device=logits.device).masked_scatter(scored, values)
    return F.pad(placed, (1, 0))


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
