"""What is measured of a row of a table, and, where that is counts which add up, every metric as a ratio of their sums.

Letters in shapes: S studies, F findings, M counts, R resamples, P patients. Because metrics of counts see sums alone,
the value of a table and each of its resamples come from one formula; a resample only counts some patients twice and
others not at all. What no sum holds (a ranking by scores) is in `scored`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from apo_lightning.metrics.correct import Correct

MEAN = "mean"
Row = tuple[str, str, float]
"""(metric, finding or ``mean``, value)."""
Metrics = dict[tuple[str, str], np.ndarray]
"""(metric, finding or ``mean``) to values ``[...]``."""


class Measure(ABC):
    """What is measured of one row of a table (an arm and seed, a teacher, a baseline), so that it can be resampled.

    Attributes:
        patients: ``[S]`` who each study is of: studies of one patient are drawn together.
        kind: rows of one kind have the same metrics and make one table.
        said: ``[S, F]`` the answers on the findings of `correct`, labelled or not, as whole numbers from 0, one number
            a kind of answer: what seeds are compared in (`agreement`). None where that is not kept.
    """

    patients: Sequence[str]
    kind: str
    said: np.ndarray | None = None

    @abstractmethod
    def whole(self) -> Metrics:
        """Every metric over all studies; NaN where it is not defined."""

    @abstractmethod
    def drawn(self, times: np.ndarray, place: np.ndarray) -> Metrics:
        """Every metric ``[R]`` of R resamples.

        Args:
            times: ``[R, P]`` how often each patient is drawn.
            place: ``[S]`` column of ``times`` of each study's patient.
        """

    def correct(self) -> Correct | None:
        """Which answers are right; None where there is no right and wrong."""
        return None

    def rows(self) -> list[Row]:
        """Every metric over all studies."""
        return [(metric, name, float(v)) for (metric, name), v in self.whole().items()]


@dataclass(frozen=True, eq=False)
class Outcomes(Measure):
    """The counts of one row of a table.

    Attributes:
        counts: ``[S, M]``.
    """

    patients: Sequence[str]
    counts: np.ndarray
    said: np.ndarray | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or len(self.patients) != len(self.counts):
            raise ValueError(
                f"counts must be [studies, counts] for {len(self.patients)} patients, got {list(self.counts.shape)}"
            )

    @abstractmethod
    def metrics(self, sums: np.ndarray) -> Metrics:
        """Every metric from sums of the counts ``[..., M]``; NaN where it is not defined."""

    @property
    def kind(self) -> str:
        return type(self).__name__

    def whole(self) -> Metrics:
        return self.metrics(self.counts.sum(axis=0))

    def drawn(self, times: np.ndarray, place: np.ndarray) -> Metrics:
        by_patient = np.zeros((times.shape[1], self.counts.shape[1]))
        np.add.at(by_patient, place, self.counts)
        return self.metrics(times @ by_patient)


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """``over / under``, NaN where ``under`` is 0."""
    return np.divide(over, under, out=np.full(np.broadcast(over, under).shape, np.nan), where=under != 0)


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def each_and_mean(metric: str, findings: Sequence[str], values: np.ndarray) -> Metrics:
    """``values`` ``[..., F]`` by finding, and their mean over the findings where the metric is defined."""
    named = {(metric, name): values[..., f] for f, name in enumerate(findings)}
    return {**named, (metric, MEAN): mean_defined(values)}
