"""Weights of the teachers of a study. The one place where they are normalised."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


@torch.no_grad()
def normalize_weights(weight: Tensor, present: Tensor, total: float | Literal["count"]) -> Tensor:
    """Teacher weights scaled so that each study's add up to ``total``.

    SPD takes 1 (a mixture of teachers, arXiv 2510.04142: ``sum_u w_u KL(pi_u || q)``). APO takes ``"count"``, the
    number of teachers that count, so that equal weights are 1 each and the paper's equation without weights returns.
    A teacher of weight 0 does not count, exactly as if it were absent.

    Args:
        weight: ``[B, U]`` as configured, any scale; ignored where absent.
        present: ``[B, U]`` bool.
        total: the sum of each row, or ``"count"``.

    Returns:
        ``[B, U]`` without gradient; 0 where absent; a row in which nothing counts is all 0.

    Raises:
        ValueError: a weight of a present teacher is negative or not finite, or ``total`` is not positive.
    """
    if total != "count" and not total > 0:
        raise ValueError(f"total must be > 0 or 'count', got {total}")
    kept = torch.where(present, weight, 0)
    bad = ~(torch.isfinite(kept) & (kept >= 0))
    if bad.any():
        raise ValueError(f"teacher weights must be finite and >= 0, got {kept[bad][0].item()}")
    amount = kept.sum(-1, keepdim=True)
    wanted = (kept > 0).sum(-1, keepdim=True) if total == "count" else total
    # Scale first: equal weights of 1 then stay exactly 1. Rows of sum 0 divide by 1 and stay 0.
    return kept * (wanted / torch.where(amount > 0, amount, 1))
