"""From when on learning from teachers lost to leaving the student alone.

The numbers were measured once, with the embedded student and simulated teachers (docs/results/critique, answer (b),
says what they rest on; `experiments/study/critique_axes.yaml` measures them again). They warn before anything is
trained. They are no law: another student, or other teachers, may lose earlier or later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from apo_lightning.metrics.subsets import Bounded


@dataclass(frozen=True)
class Limit:
    """Of one way of learning.

    Attributes:
        way: what is learned.
        margin: by how much the teachers' vote must be right more often than the student before training, in shares of
            statements; below it the way lost.
        conflict: mean conflict score (`drift.conflict`) above which it lost, where teachers erred independently.
    """

    way: str
    margin: Bounded
    conflict: Bounded


LIMITS = (
    Limit("SFT on t+", Bounded(0.1278, 0.1123, 0.1443), Bounded(0.4524, 0.4432, 0.4616)),
    Limit("SFT on the majority vote", Bounded(0.0085, -0.0185, 0.0307), Bounded(0.5171, 0.4961, 0.5469)),
    Limit("SFT on t+ by agreement", Bounded(0.1118, 0.099, 0.1247), Bounded(0.4623, 0.4543, 0.4708)),
    Limit("DPO + NLL", Bounded(0.1438, 0.1268, 0.1619), Bounded(0.4416, 0.4315, 0.4519)),
    Limit("APO listwise + NLL", Bounded(0.1462, 0.1292, 0.1634), Bounded(0.4411, 0.431, 0.4514)),
)
"""Those of docs/results/critique/critique_axes/limits.csv; a test holds the two against each other."""
TEACHERS = 7
"""Whose conflict ``Limit.conflict`` was measured on."""


def verdicts(summary: Mapping[str, Any], student: float | None = None) -> dict[str, Any]:
    """What the limits say of a corpus.

    Args:
        summary: as `told.summary_told` makes it.
        student: share of statements that the student gets right before training, by the same labels; None: not known.

    Returns:
        ``student_accuracy``; ``by``: ``vote``, where labels say how often the vote is right and the student's share is
        known, else ``conflict``; and of each way its ``margin`` and ``conflict`` with the verdict by what is known:
        ``lost`` beyond the whole interval of the limit, ``gained`` on its other side, ``open`` within.
    """
    vote, conflict = summary.get("vote_accuracy"), summary.get("conflict_mean")
    by_vote = vote is not None and student is not None
    ways = []
    for limit in LIMITS:
        if by_vote:
            verdict = _side(limit.margin, student - vote, -1)
        else:
            verdict = None if conflict is None else _side(limit.conflict, conflict, 1)
        ways.append({**asdict(limit), "verdict": verdict})
    return {"student_accuracy": student, "by": "vote" if by_vote else "conflict", "ways": ways}


def _side(limit: Bounded, value: float, sign: int) -> str:
    """Beyond a limit that is lost above it (``sign`` 1), or whose negative ``value`` is given (-1)."""
    low, high = (limit.low, limit.high) if sign == 1 else (-limit.high, -limit.low)
    return "lost" if value > high else "gained" if value < low else "open"


def crossing(x: Sequence[float], gain: Sequence[float], error: Sequence[float], draws: int = 4000) -> Bounded:
    """Where the straight line through points crosses zero, by least squares, each weighed by 1 / error^2.

    Args:
        x: of each world, what is measured beforehand.
        gain: of each world, what a way gains there.
        error: standard error of each gain, > 0.
        draws: of the gains, each normal and independent of the others, for the interval.

    Returns:
        the crossing with the middle 95 % of those of the draws; infinite ends where the slope's sign is not settled.
    """
    at, weight = np.asarray(x, float), 1 / np.asarray(error, float) ** 2
    drawn = np.asarray(gain, float) + np.random.default_rng(0).standard_normal((draws, len(at))) * np.asarray(error)
    places, slopes = _zero(at, np.vstack([np.asarray(gain, float), drawn]), weight)
    if (slopes > 0).mean() not in (0.0, 1.0) and min((slopes > 0).mean(), (slopes < 0).mean()) > 0.025:
        return Bounded(float(places[0]), -np.inf, np.inf)
    low, high = np.percentile(places[1:], [2.5, 97.5])
    return Bounded(float(places[0]), float(low), float(high))


def _zero(x: np.ndarray, gains: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zeros and slopes of the lines through ``gains`` ``[D, K]`` at ``x`` ``[K]``."""
    middle = (weight * x).sum() / weight.sum()
    means = (weight * gains).sum(1) / weight.sum()
    slopes = (weight * (x - middle) * gains).sum(1) / (weight * (x - middle) ** 2).sum()
    return middle - means / slopes, slopes
