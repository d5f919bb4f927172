"""Do the seeds of an arm say the same? Cohen's kappa of their answers, which right and wrong do not enter.

Two students of equal accuracy may err on the same studies or on different ones; kappa is the share of equal answers
beyond what two students with their frequencies of answers would have by chance (Cohen 1960). A refusal, a text that
states nothing, and a course that is not told are answers of their own kind here.

Letters in shapes: S studies, F findings, P patients, R resamples, C kinds of answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from apo_lightning.metrics.bootstrap import RESAMPLES, SEED, draws, limits
from apo_lightning.metrics.outcomes import MEAN, Measure, mean_defined, ratio


@dataclass(frozen=True)
class Agreed:
    """``kappa`` of a finding, or of their ``mean``: the mean over all pairs of seeds, and over findings, where it is
    defined; ``low`` and ``high`` bound it, drawing patients and keeping the seeds (a seed drawn twice would agree with
    itself). NaN where every answer of both seeds is the same one: chance alone gives that, and kappa is 0 / 0."""

    finding: str
    kappa: float
    low: float
    high: float
    seeds: int
    studies: int


def agreement(seeds: Mapping[int, Measure], resamples: int = RESAMPLES, seed: int = SEED) -> list[Agreed]:
    """Kappa of every finding, then their mean.

    Args:
        seeds: what each seed's answers to the same studies are.
        resamples: how many.
        seed: of the draws.

    Returns:
        nothing of fewer than two seeds, of answers that are not kept, or where seeds were not asked the same.
    """
    rows, asked = list(seeds.values()), [one.correct() for one in seeds.values() if one.said is not None]
    if len(rows) < 2 or len(asked) < len(rows) or not all(a is not None and a.asks_as(asked[0]) for a in asked):
        return []
    _, who = np.unique(np.array([*rows[0].patients], str), return_inverse=True)
    times = draws(int(who.max(initial=-1)) + 1, resamples, np.random.default_rng([seed, 0]))
    times = np.concatenate([np.ones_like(times[:1]), times])  # the first is the data itself
    kinds = 1 + max(int(one.said.max(initial=0)) for one in rows)
    each = mean_defined(np.stack([_kappas(a.said, b.said, kinds, who, times) for a, b in combinations(rows, 2)], -1))
    both = np.concatenate([each, mean_defined(each)[:, None]], axis=1)
    return [
        Agreed(
            name, float(both[0, f]), *limits(both[:1, f], both[1:, f][None], times.shape[1], -1), len(rows), len(who)
        )
        for f, name in enumerate((*asked[0].findings, MEAN))
    ]


def _kappas(one: np.ndarray, other: np.ndarray, kinds: int, who: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``[R, F]`` of each resample of patients, from answers ``[S, F]``."""
    found = [kappa(_tables(a, b, kinds, who, times)) for a, b in zip(one.T, other.T, strict=True)]
    return np.stack(found, axis=1) if found else np.zeros((len(times), 0))


def _tables(one: np.ndarray, other: np.ndarray, kinds: int, who: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``[R, C, C]``: how often ``one`` gives answer i and ``other`` answer j."""
    by_patient = np.zeros((times.shape[1], kinds * kinds))
    np.add.at(by_patient, (who, one * kinds + other), 1)
    return (times @ by_patient).reshape(-1, kinds, kinds)


def kappa(tables: np.ndarray) -> np.ndarray:
    """Cohen's kappa of tables of counts ``[..., C, C]``, as sklearn's ``cohen_kappa_score`` without weights."""
    total, same = tables.sum(axis=(-2, -1)), np.trace(tables, axis1=-2, axis2=-1)
    chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1)
    return ratio(total * same - chance, total**2 - chance)
