"""What a text metric is given and gives. Letters in shapes: S studies, M counts of one tally, K metrics of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from apo_lightning.metrics.outcomes import MEAN, Metrics, Outcomes, ratio
from apo_lightning.settings.reports import ReportTextSettings

Formula = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""From sums of counts ``[..., M]`` to metric name and values ``[...]``."""


@dataclass(frozen=True)
class Pairs:
    """The texts of S studies and what they are compared with, in one order. A text may be empty, a reference not."""

    candidates: Sequence[str]
    references: Sequence[str]

    def __len__(self) -> int:
        return len(self.candidates)


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts ``[S, M]`` that add up over studies, and what is made of their sums."""

    counts: np.ndarray
    formula: Formula


class TextMetric(ABC):
    """One kind of measure of report texts.

    Args:
        settings: of the experiment, ``backend`` resolved.
    """

    def __init__(self, settings: ReportTextSettings) -> None:
        self.settings = settings

    def lacking(self) -> str:
        """Empty where it can be computed here; else one sentence: what is not there, and what to do."""
        return ""

    def words(self) -> str:
        """One sentence for the reader of a table: what computes it, and what of it is left out here."""
        return ""

    @abstractmethod
    def measure(self, pairs: Pairs) -> list[Tally]:
        """What is counted of each pair.

        Raises:
            ConfigError: what it runs on failed; says what to do.
        """


@dataclass(frozen=True, eq=False)
class ReportOutcomes(Outcomes):
    """All text metrics of one row of a table: the counts of its tallies side by side."""

    tallies: Sequence[tuple[int, Formula]] = field(kw_only=True)
    """How many counts each tally has, and its formula."""

    def metrics(self, sums: np.ndarray) -> Metrics:
        found: Metrics = {}
        start = 0
        for width, formula in self.tallies:
            values = formula(sums[..., start : start + width])
            found |= {(name, MEAN): np.asarray(value, float) for name, value in values.items()}
            start += width
        return found


def joined(tallies: Sequence[Tally], patients: Sequence[str]) -> ReportOutcomes:
    """The tallies of one row as outcomes."""
    counts = np.concatenate([tally.counts for tally in tallies], axis=1)
    return ReportOutcomes(patients, counts, tallies=[(tally.counts.shape[1], tally.formula) for tally in tallies])


def means(scores: Mapping[str, Sequence[float]]) -> Tally:
    """Means over studies of scores ``[S]`` by name; a study whose score is NaN stays out of that mean."""
    table = np.array(list(scores.values()), float).T.reshape(-1, len(scores))
    known, names = ~np.isnan(table), list(scores)

    def formula(sums: np.ndarray) -> dict[str, np.ndarray]:
        found = ratio(sums[..., : len(names)], sums[..., len(names) :])
        return {name: found[..., place] for place, name in enumerate(names)}

    return Tally(np.concatenate([np.where(known, table, 0), known], axis=1).astype(float), formula)
