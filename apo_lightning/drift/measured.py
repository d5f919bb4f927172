"""Measures that are functions of sums over studies, by finding, with intervals that draw whole patients.

Letters in shapes: S studies, F findings, W counts that one measure needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from apo_lightning.metrics.agreement import kappa
from apo_lightning.metrics.bootstrap import RESAMPLES, SEED, Interval, Name, draws, limits
from apo_lightning.metrics.outcomes import MEAN, Metrics, Outcomes, each_and_mean, ratio

Formula = Callable[[np.ndarray], np.ndarray]
"""Of sums ``[..., W]``, the value ``[...]``; NaN where it is not defined."""
Block = tuple[np.ndarray, Formula]
"""Counts ``[S, F, W]`` of a measure by finding, or ``[S, W]`` of one of whole texts; and what it is of their sums."""


@dataclass(frozen=True, eq=False)
class Measured(Outcomes):
    """Any number of measures side by side. A measure by finding has a mean over the findings where it is defined; one
    of whole texts stands under ``mean`` alone.

    Attributes:
        findings: names of the F findings.
        formulas: of each measure.
        shapes: of each measure ``(F, W)`` or ``(W,)``.
    """

    findings: Sequence[str] = field(kw_only=True)
    formulas: Mapping[str, Formula] = field(kw_only=True)
    shapes: Mapping[str, tuple[int, ...]] = field(kw_only=True)

    @classmethod
    def of(cls, patients: Sequence[str], findings: Sequence[str], blocks: Mapping[str, Block]) -> Measured:
        """Of ``blocks`` by name of the measure."""
        counts = [np.asarray(own, float).reshape(len(patients), -1) for own, _ in blocks.values()]
        return cls(
            patients,
            np.concatenate(counts, axis=1),
            findings=findings,
            formulas={name: formula for name, (_, formula) in blocks.items()},
            shapes={name: own.shape[1:] for name, (own, _) in blocks.items()},
        )

    def metrics(self, sums: np.ndarray) -> Metrics:
        found: Metrics = {}
        start = 0
        for name, formula in self.formulas.items():
            shape = self.shapes[name]
            end = start + int(np.prod(shape))
            values = formula(sums[..., start:end].reshape(*sums.shape[:-1], *shape))
            found |= each_and_mean(name, self.findings, values) if len(shape) == 2 else {(name, MEAN): values}
            start = end
        return found


def intervals(measured: Measured, resamples: int = RESAMPLES, seed: int = SEED) -> dict[Name, Interval]:
    """Of every measure its value over all studies and the 95 % interval over patients (`metrics.bootstrap`). A share
    ends at 0, any other measure at -1; 1 is taken for the highest where no resample is above it.

    Args:
        measured: what to resample.
        resamples: how many.
        seed: of the draws: objects of the same patients meet the same ones.
    """
    _, who = np.unique(np.array([*measured.patients], str), return_inverse=True)
    count = int(who.max(initial=-1)) + 1
    times = _draws(count, resamples, seed)
    whole, drawn = measured.whole(), measured.drawn(times, who)
    size, least = (1, len(who), count), {name: 0 if own is share else -1 for name, own in measured.formulas.items()}
    return {
        name: Interval(float(value), *limits(np.array([value]), drawn[name][None], count, least[name[0]]), *size)
        for name, value in whole.items()
    }


@lru_cache(maxsize=1)
def _draws(patients: int, resamples: int, seed: int) -> np.ndarray:
    """Of one corpus, which is measured as often as it has pairs of teachers."""
    return draws(patients, resamples, np.random.default_rng([seed, 0]))


def share(sums: np.ndarray) -> np.ndarray:
    """Counted over out of how many: ``[..., 2]``."""
    return ratio(sums[..., 0], sums[..., 1])


def shared(counted: np.ndarray, out_of: np.ndarray) -> Block:
    """A share of ``out_of`` (bool or counts, like ``counted``); what is counted lies within."""
    return np.stack([np.asarray(counted, float), np.asarray(out_of, float)], axis=-1), share


def cohen(sums: np.ndarray) -> np.ndarray:
    """Cohen's kappa of tables ``[..., K * K]``."""
    kinds = round(sums.shape[-1] ** 0.5)
    return kappa(sums.reshape(*sums.shape[:-1], kinds, kinds))


def fleiss_counts(votes: np.ndarray) -> np.ndarray:
    """What Fleiss' kappa sums up of each study ``[..., 2 + K]``: the share of pairs of raters that agree, 1, and the
    share of raters in each category; all 0 where fewer than two raters say something.

    Args:
        votes: ``[..., K]`` raters in each category. Their number may differ between studies.
    """
    votes = np.asarray(votes, float)
    raters = votes.sum(axis=-1)
    paired = raters >= 2
    alike = ratio((votes * (votes - 1)).sum(axis=-1), raters * (raters - 1))
    by_category = ratio(votes, raters[..., None])
    found = np.concatenate([np.stack([alike, np.ones_like(alike)], axis=-1), by_category], axis=-1)
    return np.where(paired[..., None], found, 0.0)


def fleiss(sums: np.ndarray) -> np.ndarray:
    """Fleiss' kappa (1971) from sums of `fleiss_counts`; with equally many raters statsmodels' ``fleiss_kappa``. With
    unequal ones every study weighs the same (Gwet 2014, 2.6). NaN where all say one and the same."""
    count = sums[..., 1]
    alike = ratio(sums[..., 0], count)
    chance = (ratio(sums[..., 2:], count[..., None]) ** 2).sum(axis=-1)
    return ratio(alike - chance, np.where(chance > 1 - 1e-12, 0.0, 1 - chance))
