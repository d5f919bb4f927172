"""The choice: within an arm the trial with the highest score on the validation split, and which arms go on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from apo_lightning.experiment.study.plan import ALL, BEST, Study
from apo_lightning.metrics.bootstrap import TINY

Scores = Mapping[str, Sequence[float]]
"""Arm to the score of each of its trials; NaN where one failed."""

SAID = "highest mean of {metric} over findings and seeds on the validation split; of equals, the first trial"


def first_best(scores: Sequence[float]) -> int | None:
    """Number (from 1) of the highest score; of equal ones the first; None where no trial has one.

    >>> first_best([0.5, 0.7, 0.7, float("nan")]), first_best([float("nan")])
    (2, None)
    """
    known = [value for value in scores if not math.isnan(value)]
    if not known:
        return None
    return next(number for number, value in enumerate(scores, 1) if value >= max(known) - TINY)


def choose(scores: Scores) -> dict[str, int]:
    """Arm to its trial, of arms of which any trial came to its end."""
    found = {arm: first_best(own) for arm, own in scores.items()}
    return {arm: number for arm, number in found.items() if number is not None}


def going(plan: Study, worlds: Sequence[Scores]) -> list[str]:
    """The arms that go on, in the order of the experiment.

    Args:
        plan: the study.
        worlds: the scores of each of its worlds; where ``best`` is not asked for, they are not looked at.
    """
    if plan.spec.final.arms == ALL:
        return [name for name in plan.measured if name in plan.arms]
    best = _best(plan, worlds)[: plan.going.get(BEST, 0)]
    return [name for name in plan.measured if name in best or name in plan.also]


def _best(plan: Study, worlds: Sequence[Scores]) -> list[str]:
    """Tuned arms by the mean over worlds of what they were chosen by, the highest first; one that has no score in some
    world is left out. Equals stay in the order of the study."""
    means = {}
    for arm in plan.tuned:
        tops = [own[arm][number - 1] if (number := first_best(own[arm])) else math.nan for own in worlds]
        means[arm] = sum(tops) / len(tops) if tops else math.nan
    known = [arm for arm in plan.tuned if not math.isnan(means[arm])]
    return sorted(known, key=lambda arm: -round(means[arm] / TINY) * TINY)
