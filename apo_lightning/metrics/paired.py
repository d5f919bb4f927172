"""p-values of paired differences, and what is left of them where there are many. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 19_999
"""Random swaps where not all of them can be gone through; the smallest p is then 1 in 20,000."""
SEED = 0
LEVEL = 0.05
_ROWS = 1000
"""Swaps that are held in memory at a time."""
_SAME = 1e-12
"""Differences of shares that are closer to each other are equal: sums of fractions carry rounding."""


def moved(differences: np.ndarray) -> np.ndarray:
    """Which are not 0."""
    return np.abs(differences) > _SAME


def permutation(differences: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """Two-sided p of the sum of paired differences: how often a random sign for each makes a sum as far from 0.

    Swapping two arms on a unit turns the sign of its difference, and one of 0 changes nothing either way, so only the
    others are swapped. Where they have no more than ``resamples`` patterns of signs, all are gone through and p is
    exact; else p is ``(b + 1) / (m + 1)`` of ``m`` random ones (Phipson and Smyth 2010), the observed one counted in.

    ``scipy.stats.permutation_test(..., permutation_type="samples")`` gives the same and takes fifty times as long, half
    a minute for the pairs of eight arms on 300 patients.

    Args:
        differences: ``[P]`` of independent units (patients).
        resamples: m.
        seed: of the random signs: the same input gives the same p.

    Returns:
        p; 1 where nothing differs.
    """
    own = differences[moved(differences)]
    if not len(own):
        return 1.0
    exact = 2 ** len(own) <= resamples + 1
    signs = _every_pattern(len(own)) if exact else _random(len(own), resamples, np.random.default_rng(seed))
    far = sum(int((np.abs(2 * (up @ own) - own.sum()) >= abs(own.sum()) - _SAME).sum()) for up in signs)
    return far / 2 ** len(own) if exact else (far + 1) / (resamples + 1)


def _every_pattern(count: int) -> Iterator[np.ndarray]:
    """``[rows, count]`` 0 and 1: all of them."""
    for start in range(0, 2**count, _ROWS):
        numbers = np.arange(start, min(start + _ROWS, 2**count))
        yield (numbers[:, None] >> np.arange(count) & 1).astype(float)


def _random(count: int, resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    for start in range(0, resamples, _ROWS):
        yield generator.integers(2, size=(min(_ROWS, resamples - start), count), dtype=np.int8).astype(float)


def mcnemar(better: int, worse: int) -> float:
    """McNemar's exact test, two-sided: studies on which one of two is right and the other is not are a fair coin.

    Of several seeds a study counts for the arm that is right in more of them, and for neither where that is equal: the
    sign test, which McNemar's is for one seed. Pooling the seeds instead would count every study several times, and
    one seed alone would throw the others away.

    Args:
        better: studies for the one.
        worse: studies for the other.
    """
    return float(binomtest(better, better + worse, 0.5).pvalue) if better + worse else 1.0


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values of one family, corrected step by step (Holm 1979): the smallest times how many there are, the next times
    one less, and so on, none below an earlier one, none above 1. NaN stays, and is no member of the family."""
    values = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected


def smallest_p(test: str, n: int, resamples: int = RESAMPLES) -> float:
    """The p that a test would reach if all that can speak for one of the arms did.

    >>> smallest_p("mcnemar", 5), smallest_p("mcnemar", 6), smallest_p("permutation", 100)
    (0.0625, 0.03125, 5e-05)

    Args:
        test: ``permutation`` or ``mcnemar``.
        n: as in tests.csv: patients, or studies, on which the arms differ.
        resamples: of the permutation test.

    Raises:
        ValueError: there is no such test.
    """
    if test not in ("permutation", "mcnemar"):
        raise ValueError(f"test must be permutation or mcnemar, got '{test}'")
    exact = min(1.0, 2.0 ** (1 - n))
    sampled = test == "permutation" and 2**n > resamples + 1
    return max(exact, 1 / (resamples + 1)) if sampled else exact


def too_small(test: str, n: Sequence[int], p: Sequence[float], level: float = LEVEL) -> np.ndarray:
    """Of each member of a family, whether it could not have become significant, however its differences had fallen.

    Its smallest p (`smallest_p`) takes its place among the p-values of the others, is corrected with them (`holm`), and
    is still above ``level``. A member without p (NaN) is too small.

    Args:
        test: ``permutation`` or ``mcnemar``.
        n: of each member, as in tests.csv.
        p: of each member, uncorrected.
        level: what is significant.
    """
    values = np.asarray(p, float)
    known = np.sort(values[~np.isnan(values)])
    least = np.array([smallest_p(test, int(count)) for count in n])
    before = np.searchsorted(known, least - _SAME)  # members that stay ahead of it
    held = np.concatenate([[0.0], holm(known)])[before]
    best = np.minimum(1, np.maximum(held, least * (len(known) - before)))
    return np.isnan(values) | (best > level)
