"""A distance between teachers at every step of their texts, over many studies.

Letters in shapes: S studies, K steps, N teachers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apo_lightning.metrics.bootstrap import RESAMPLES, SEED, bounds, draws

AT_ONCE = 1 << 22
"""Numbers of drawn patients that are held at a time."""


@dataclass(frozen=True)
class Curve:
    """A distance by step.

    Attributes:
        studies: ``[S, K]`` mean over the study's pairs of teachers, NaN where no pair has the step.
        pairs: ``[K, N, N]`` mean over studies of each pair, NaN where none has it; symmetric, NaN on the diagonal.
    """

    studies: np.ndarray
    pairs: np.ndarray

    @classmethod
    def of(cls, found: Iterable[np.ndarray], steps: int, teachers: int) -> Curve:
        """Gather distances ``[K, N, N]`` of one study after the other; only one of them is held."""
        rows, upper = [], np.triu_indices(teachers, 1)
        total, count = np.zeros((steps, teachers, teachers)), np.zeros((steps, teachers, teachers))
        for one in found:
            rows.append(mean(one[:, *upper], axis=1))
            known = ~np.isnan(one)
            total += np.where(known, one, 0)
            count += known
        pairs = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        pairs[:, range(teachers), range(teachers)] = np.nan
        return cls(np.array(rows).reshape(len(rows), steps), pairs)

    def summary(self, patients: Sequence[str]) -> dict[str, Any]:
        """What `drift.json` says of it: its `line`, how many studies have the step, and the mean of each pair."""
        count = (~np.isnan(self.studies)).sum(0)
        return {**line(self.studies, patients), "studies": count.tolist(), "pairs": self.pairs.tolist()}


def line(values: np.ndarray, patients: Sequence[str]) -> dict[str, Any]:
    """Of ``[S, K]``: mean by step with a 95 % interval over patients, and the rise from the first third of the steps to
    the last."""
    third = max(1, values.shape[1] // 3)
    last, first = mean(values[:, -third:], axis=1), mean(values[:, :third], axis=1)
    columns = np.column_stack([values, last - first])
    ends, means = intervals(columns, patients), mean(columns, axis=0)
    return {
        "mean": means[:-1].tolist(),
        "low": [low for low, _ in ends[:-1]],
        "high": [high for _, high in ends[:-1]],
        "rise": dict(zip(("value", "low", "high"), (float(means[-1]), *ends[-1]), strict=True)),
    }


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of the known values, NaN where there are none, without numpy's warning."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def intervals(
    columns: np.ndarray, patients: Sequence[str], resamples: int = RESAMPLES, seed: int = SEED
) -> list[tuple[float, float]]:
    """95 % interval of the mean of each column ``[S, C]`` over studies, by a bootstrap over patients with all their
    studies; NaN where it knows nothing (one patient, or all resamples equal)."""
    names, place = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    known = ~np.isnan(columns)
    sums, counts = np.zeros((len(names), columns.shape[1])), np.zeros((len(names), columns.shape[1]))
    np.add.at(sums, place, np.where(known, columns, 0))
    np.add.at(counts, place, known)
    generator, drawn = np.random.default_rng(seed), []
    size = max(1, AT_ONCE // max(1, len(names)))
    for start in range(0, resamples, size):
        times = draws(len(names), min(size, resamples - start), generator)
        with np.errstate(invalid="ignore"):
            drawn.append((times @ sums) / (times @ counts))
    return [bounds(column) for column in np.concatenate(drawn).T]
