"""From when on learning from teachers lost to leaving the student alone.

The numbers were measured once, with two students of 2 M parameters and simulated teachers (docs/results/critique,
answer (b), says what they rest on; `experiments/study/critique_axes.yaml` measures them again). They warn before
anything is trained. They are no law: another student, or other teachers, may lose earlier or later.
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
    Limit("SFT on t+", Bounded(0.1483, 0.1037, 0.2923), Bounded(0.4416, 0.4041, 0.4751)),
    Limit("SFT on the majority vote", Bounded(0.0112, -0.0473, 0.0689), Bounded(0.5082, 0.4635, 0.7496)),
    Limit("SFT on t+ by agreement", Bounded(0.1263, 0.0918, 0.2015), Bounded(0.4511, 0.4127, 0.5084)),
    Limit("DPO + NLL", Bounded(0.165, 0.1158, 0.3071), Bounded(0.4302, 0.3821, 0.4685)),
    Limit("APO listwise + NLL", Bounded(0.163, 0.1182, 0.2899), Bounded(0.4327, 0.382, 0.4699)),
)
"""Those of both students in docs/results/critique/limits.csv; a test holds the two against each other."""
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
        draws: of worlds, with replacement, and of the gain of each, which is normal, for the interval.

    Returns:
        the crossing with the middle 95 % of those of the draws; infinite ends where the slope's sign is not settled.
    """
    at, gains, errors = (np.asarray(values, float) for values in (x, gain, error))
    rng = np.random.default_rng(0)
    picked = rng.integers(len(at), size=(draws, len(at)))
    drawn = gains[picked] + rng.standard_normal(picked.shape) * errors[picked]
    value, _ = _zero(at[None], gains[None], errors[None] ** -2)
    places, slopes = _zero(at[picked], drawn, errors[picked] ** -2)
    known = np.isfinite(slopes) & (slopes != 0)  # draws of one world alone have no slope
    places, slopes = places[known], slopes[known]
    if not len(slopes) or min((slopes > 0).mean(), (slopes < 0).mean()) > 0.025:
        return Bounded(float(value[0]), -np.inf, np.inf)
    low, high = np.percentile(places, [2.5, 97.5])
    return Bounded(float(value[0]), float(low), float(high))


def _zero(x: np.ndarray, gains: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zeros and slopes of the lines through the points of each row, all ``[D, K]``."""
    total = weight.sum(1, keepdims=True)
    middle, mean = ((weight * values).sum(1, keepdims=True) / total for values in (x, gains))
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = (weight * (x - middle) * (gains - mean)).sum(1) / (weight * (x - middle) ** 2).sum(1)
        return middle[:, 0] - mean[:, 0] / slopes, slopes
