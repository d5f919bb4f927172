"""95 % intervals over patients and seeds, and of differences between rows of a table.

A bootstrap over patients: each resample draws as many as there are, with all their studies and with replacement, and
takes the metric of what was drawn, in every seed. Rows meet the same draws, so a difference is paired by study and by
seed. The percentiles of the mean over seeds are then stretched (`limits`) by what a bootstrap leaves out: that few
units spread less than what they are drawn from, and, with several seeds, how far those lie apart. Two seeds of equal
values still carry the uncertainty of the patients. One seed has an interval too, that of the student it gave: how
another training would turn out, it cannot know.

Drawing seeds as well, which looks simpler, holds too little of them (half, of two) and the noise of single answers
three times (Owen 2007, arXiv:0712.1111): 99 % of such intervals held a difference where seeds were alike, 87 % where
they were not. ``benchmarks/interval_coverage.py`` measures that.

``scipy.stats.bootstrap`` resamples one axis at a time; two crossed ones (patients and seeds), shared by all rows of a
table, need work of our own. Metrics that are functions of sums (`outcomes`) take a thousand resamples in one matrix
product; those of scores (`scored`) take the times that each study was drawn as its weight.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.stats import norm, t

from apo_lightning.metrics.outcomes import Measure, Metrics

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95
TINY = 1e-12
"""Values that are closer to each other are equal."""

Name = tuple[str, str]
"""(metric, finding or ``mean``)."""
SHARE = (0.0, 1.0)


@runtime_checkable
class Ranged(Protocol):
    """A measure that has metrics which are no shares.

    Attributes:
        ranges: of each of these the lowest and the highest that it can be.
    """

    ranges: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Interval:
    """``value`` is that of the data, ``low`` and ``high`` bound it; both NaN where no two resamples differ (a share of
    0 or 1, a single patient): a bootstrap knows nothing there."""

    value: float
    low: float
    high: float
    seeds: int
    studies: int
    patients: int


class Resampled:
    """The rows of one table under the same draws.

    Args:
        rows: for each row what is measured of it by seed, all of one kind.
        resamples: how many.
        seed: of the draws: the same input gives the same intervals.
    """

    def __init__(
        self, rows: Mapping[Hashable, Mapping[int, Measure]], resamples: int = RESAMPLES, seed: int = SEED
    ) -> None:
        self.rows, self.resamples, self.seed = rows, resamples, seed
        patients = sorted({who for seeds in rows.values() for one in seeds.values() for who in one.patients})
        self.place = {who: i for i, who in enumerate(patients)}
        self.times = draws(len(patients), resamples, np.random.default_rng([seed, 0]))
        self.drawn = {key: {s: self._draw(one) for s, one in seeds.items()} for key, seeds in rows.items()}
        self.whole = {key: {s: one.whole() for s, one in seeds.items()} for key, seeds in rows.items()}

    def _draw(self, one: Measure) -> Metrics:
        """Every metric ``[resamples]``."""
        return one.drawn(self.times, np.array([self.place[who] for who in one.patients], dtype=int))

    def intervals(self, key: Hashable) -> dict[Name, Interval]:
        """Of every metric of a row; the value is the mean over its seeds."""
        return self._summed(key, sorted(self.rows[key]))

    def differences(self, key: Hashable, against: Hashable) -> dict[Name, Interval]:
        """Of every metric that both rows have, ``key`` minus ``against``, over the seeds that both have."""
        return self._summed(key, sorted(set(self.rows[key]) & set(self.rows[against])), against)

    def _summed(self, key: Hashable, seeds: Sequence[int], against: Hashable | None = None) -> dict[Name, Interval]:
        if not seeds:
            return {}
        minus = self.whole[against][seeds[0]] if against is not None else None
        names = [name for name in self.whole[key][seeds[0]] if minus is None or name in minus]
        whole, drawn = (self._stacked(key, seeds, names, each) for each in (self.whole, self.drawn))
        if against is not None:
            whole -= self._stacked(against, seeds, names, self.whole)
            drawn -= self._stacked(against, seeds, names, self.drawn)
        who = self.rows[key][seeds[0]].patients
        size = (len(seeds), len(who), len(set(who)))
        ends = [_ends(self.rows[key][seeds[0]], metric, apart=against is not None) for metric, _ in names]
        return {
            name: Interval(float(np.mean(w)), *limits(w, d, size[-1], *end), *size)
            for name, w, d, end in zip(names, whole, drawn, ends, strict=True)
        }

    @staticmethod
    def _stacked(key: Hashable, seeds: Sequence[int], names: Sequence[Name], values: Mapping) -> np.ndarray:
        """``[names, seeds, ...]``."""
        return np.array([[values[key][s][name] for s in seeds] for name in names])


def _ends(one: Measure, metric: str, *, apart: bool) -> tuple[float, float]:
    """The lowest and the highest that a metric can be, or a difference of two (``apart``)."""
    low, high = one.ranges.get(metric, SHARE) if isinstance(one, Ranged) else SHARE
    return (low - high, high - low) if apart else (low, high)


def draws(count: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """``[resamples, count]``: how many times each of ``count`` units is drawn, ``count`` draws with replacement."""
    if not count:
        return np.zeros((resamples, 0))
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)


def bounds(values: np.ndarray) -> tuple[float, float]:
    """The percentiles that hold ``LEVEL`` of the resamples where the metric is defined; NaN where all are equal."""
    known = values[~np.isnan(values)]
    if not known.size or np.ptp(known) < TINY:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def limits(
    whole: np.ndarray, drawn: np.ndarray, patients: int, least: float = 0.0, most: float = 1.0
) -> tuple[float, float]:
    """Ends of the interval of the mean over seeds.

    The percentiles of that mean (`bounds`) hold the patients' part of its variance, and that as n - 1 of n. Their
    distance from the value is multiplied by the root of what both parts are together (`variance`) over what was drawn,
    and by Student's t over the normal quantile. What lies between ``least`` and ``most`` in all resamples does so here.

    Args:
        whole: ``[S]`` the metric in each seed.
        drawn: ``[S, R]`` the same of each resample of patients.
        patients: how many there are.
        least: the lowest that the metric can be: of a share 0, of a difference of shares -1.
        most: the highest.

    Returns:
        both NaN where neither resamples nor seeds differ, or the metric is not defined.
    """
    value, mean = float(whole.mean()), drawn.mean(axis=0)
    known = mean[~np.isnan(mean)]
    if np.isnan(value) or not known.size:
        return float("nan"), float("nan")
    total, student = variance(whole, float(known.var()), patients)
    if total < TINY**2:
        return float("nan"), float("nan")
    reach = np.array([-1.0, 1.0])  # in deviations, of one seed or patient alone
    if np.ptp(known) >= TINY:
        reach = (np.array(bounds(known)) - value) / known.std() / norm.ppf((1 + LEVEL) / 2)
    low, high = value + student * np.sqrt(total) * reach
    if np.nanmin(drawn) >= least and np.nanmax(drawn) <= most:
        low, high = max(low, least), min(high, most)
    return float(low), float(high)


def variance(whole: np.ndarray, drawn: float, patients: int) -> tuple[float, float]:
    """Of the mean over seeds, and the quantile of Student's t that goes with it.

    The patients' part is what was ``drawn``, n for n - 1. The seeds' part is the variance of ``whole`` ``[S]`` over S,
    which holds what patients and seeds share once more: with few seeds that cannot be told apart without often finding
    too little, so it errs on the wide side. Degrees of freedom after Satterthwaite (1946).
    """
    by_patients = drawn * patients / max(1, patients - 1), max(1, patients - 1)
    by_seeds = float(whole.var(ddof=1)) / len(whole) if len(whole) > 1 else 0.0, max(1, len(whole) - 1)
    total = by_patients[0] + by_seeds[0]
    lost = sum(part**2 / degrees for part, degrees in (by_patients, by_seeds))
    return total, float(t.ppf((1 + LEVEL) / 2, total**2 / lost)) if lost else 0.0
