"""BLEU-1..4 of a corpus from sums over its studies, as two libraries define it. Counts: ``[..., 10]``, matches of 1- to
4-grams (clipped), how many there are in the candidates, length of the candidates, length of the references.

Papineni et al. 2002. BLEU-n is the cumulative one: the geometric mean of the precisions of 1- to n-grams.
"""

from __future__ import annotations

import numpy as np

from apo_lightning.metrics.outcomes import ratio

ORDERS = 4
WIDTH = 2 * ORDERS + 2
SMALL, TINY = 1e-9, 1e-15
"""pycocoevalcap adds them to what it divides by, and to what it divides."""


def coco(sums: np.ndarray) -> dict[str, np.ndarray]:
    """pycocoevalcap's (``Bleu(4)``, option ``closest``), without smoothing; in [0, 1]."""
    precision = (sums[..., :ORDERS] + TINY) / (sums[..., ORDERS : 2 * ORDERS] + SMALL)
    share = (sums[..., -2] + TINY) / (sums[..., -1] + SMALL)
    penalty = np.exp(np.minimum(0, 1 - 1 / share))
    whole = np.cumprod(precision, axis=-1)
    return {f"coco:bleu_{n}": whole[..., n - 1] ** (1 / n) * penalty for n in range(1, ORDERS + 1)}


def sacre(sums: np.ndarray) -> dict[str, np.ndarray]:
    """sacrebleu's with its default smoothing (``exp``: an order without a match counts as half a match, the next such
    order as a quarter, ...), divided by 100."""
    matched, total = sums[..., :ORDERS], sums[..., ORDERS : 2 * ORDERS]
    without = matched == 0
    smoothed = np.where(without, 0.5 ** np.cumsum(without, axis=-1), matched)
    with np.errstate(divide="ignore"):
        logs = np.log(np.nan_to_num(ratio(smoothed, total)))
        penalty = np.exp(np.minimum(0, 1 - np.nan_to_num(sums[..., -1] / sums[..., -2], nan=1.0, posinf=np.inf)))
    found = {}
    for n in range(1, ORDERS + 1):
        value = np.exp(logs[..., :n].mean(axis=-1)) * penalty
        found[f"python:bleu_{n}"] = np.where(matched[..., :n].any(axis=-1), value, 0.0)
    return found
