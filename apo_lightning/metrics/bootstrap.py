"""95 % intervals over patients and seeds, and of differences between rows of a table.

A percentile bootstrap: each resample draws as many patients as there are, with all their studies, and as many seeds,
both with replacement, and takes the metric of what was drawn. Rows meet the same draws, so a difference is paired by
study and by seed. Two seeds of equal values thus still carry the uncertainty of the studies, and one seed has an
interval too. With two or three seeds their own part of it comes out narrow, as in every bootstrap of few units.

``scipy.stats.bootstrap`` resamples one axis at a time; two crossed ones (patients and seeds), shared by all rows of a
table, need draws of our own. Metrics that are functions of sums (`outcomes`) take a thousand resamples in one matrix
product; those of scores (`scored`) take the times that each study was drawn as its weight.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apo_lightning.metrics.outcomes import Measure, Metrics

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95

Name = tuple[str, str]
"""(metric, finding or ``mean``)."""


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

    def _over_seeds(self, values: Mapping[int, Metrics], seeds: Sequence[int], name: Name) -> np.ndarray:
        """Mean over drawn ``seeds``; rows with the same seeds meet the same draws."""
        times = draws(len(seeds), self.resamples, np.random.default_rng([self.seed, 1, *seeds])) / len(seeds)
        return (times * np.stack([values[s][name] for s in seeds], axis=1)).sum(axis=1)

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
        value = np.array([np.mean([self.whole[key][s][name] for s in seeds]) for name in names])
        drawn = np.stack([self._over_seeds(self.drawn[key], seeds, name) for name in names])
        if against is not None:
            value = value - [np.mean([self.whole[against][s][name] for s in seeds]) for name in names]
            drawn = drawn - [self._over_seeds(self.drawn[against], seeds, name) for name in names]
        who = self.rows[key][seeds[0]].patients
        return {
            name: Interval(float(v), *bounds(d), len(seeds), len(who), len(set(who)))
            for name, v, d in zip(names, value, drawn, strict=True)
        }


def draws(count: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """``[resamples, count]``: how many times each of ``count`` units is drawn, ``count`` draws with replacement."""
    if not count:
        return np.zeros((resamples, 0))
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)


def bounds(values: np.ndarray) -> tuple[float, float]:
    """The percentiles that hold ``LEVEL`` of the resamples where the metric is defined; NaN where all are equal."""
    known = values[~np.isnan(values)]
    if not known.size or np.ptp(known) < 1e-12:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
