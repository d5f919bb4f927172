"""What is measured of scores, the probabilities of "present" that a student gives: ranking, calibration, decisions.

Letters in shapes: S studies, F findings, R resamples, G distinct scores.

Values are torchmetrics'. A resample counts each study as often as it was drawn, so every metric has a twin here that
takes weights ``[R, S]`` and works on all resamples at once; the twins equal sklearn with ``sample_weight``, ties
included. A label that is NaN adds nothing, nor does a score that is NaN. AUROC, average precision, balanced accuracy
and F1 compare two classes: a finding whose labels hold one class only scores NaN in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
)

from apo_lightning.metrics.correct import Correct
from apo_lightning.metrics.findings import METRICS, confusion
from apo_lightning.metrics.outcomes import Measure, Metrics, each_and_mean, ratio

BINS = 15
"""Of the expected calibration error, equally wide; torchmetrics' default, from Guo et al. 2017."""
AT_ONCE = 1 << 22
"""Weights that are looked at at a time: 32 MB."""


@dataclass(frozen=True, eq=False)
class ScoredOutcomes(Measure):
    """The scores of one row of a table.

    Attributes:
        patients: ``[S]``.
        labels: ``[S, F]`` 1 present, 0 absent, NaN unknown.
        scores: ``[S, F]`` in [0, 1]; NaN where there is none.
        findings: names of the F columns.
        kind: what its metrics begin with (``likelihood``, ``vote``).

    Decisions are made at .5, which counts as present.
    """

    patients: Sequence[str]
    labels: np.ndarray
    scores: np.ndarray
    findings: Sequence[str]
    kind: str

    def __post_init__(self) -> None:
        shape = (len(self.patients), len(self.findings))
        if self.labels.shape != shape or self.scores.shape != shape:
            raise ValueError(
                f"labels and scores must be [studies, findings] = {list(shape)}, got {list(self.labels.shape)} and "
                f"{list(self.scores.shape)}"
            )
        known = self.scores[~np.isnan(self.scores)]
        if ((known < 0) | (known > 1)).any():
            raise ValueError(f"scores must be in [0, 1], got {known.min()} to {known.max()}")

    def whole(self) -> Metrics:
        ranked = {
            name: np.array([_two_classes(y, p, metric) for y, p in self._labelled()])
            for name, metric in (("auroc", binary_auroc), ("average_precision", binary_average_precision))
        }
        ranked["ece"] = np.array([_ece(y, p) for y, p in self._labelled()])
        ranked["brier"] = np.array([_brier(y, p) for y, p in self._labelled()])
        decided = self._decided(np.ones((1, len(self.patients))))
        return self._named(ranked | {name: values[0] for name, values in decided.items()})

    def drawn(self, times: np.ndarray, place: np.ndarray) -> Metrics:
        size = max(1, AT_ONCE // max(1, len(place)))
        parts = [self._drawn(times[start : start + size, place]) for start in range(0, len(times), size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def correct(self) -> Correct:
        right = (self.scores >= 0.5) == (self.labels == 1)
        asked = self._known.astype(float)
        return Correct(f"{self.kind}_accuracy", self.findings, self.patients, right * asked, asked)

    def _drawn(self, times: np.ndarray) -> Metrics:
        """``times`` ``[R, S]``."""
        found = self._decided(times)
        columns = list(enumerate(self._labelled()))
        for name, metric in WEIGHTED.items():
            values = [metric(y, p, times[:, self._known[:, f]]) for f, (y, p) in columns]
            found[name] = np.stack(values, axis=-1) if values else np.zeros((len(times), 0))
        return self._named(found)

    @property
    def _known(self) -> np.ndarray:
        return ~np.isnan(self.labels) & ~np.isnan(self.scores)

    def _labelled(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Labels and scores of each finding, where it has both."""
        known = self._known
        return [(self.labels[k, f], self.scores[k, f]) for f, k in enumerate(known.T)]

    def _decided(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """``[R, F]`` of the metrics that look at decisions."""
        size, shape = len(self.patients), (len(times), len(self.findings), 4)
        labels = np.where(self._known, self.labels, np.nan)
        cells = confusion(labels, (self.scores >= 0.5).astype(float)).reshape(size, shape[1] * 4)
        tables = (times @ cells).reshape(shape)
        return {name: metric(tables) for name, metric in METRICS.items()}

    def _named(self, values: dict[str, np.ndarray]) -> Metrics:
        found: Metrics = {}
        for name in (*METRICS, *WEIGHTED):
            found |= each_and_mean(f"{self.kind}_{name}", self.findings, values[name])
        return found


def _two_classes(labels: np.ndarray, scores: np.ndarray, metric: Callable[..., torch.Tensor]) -> float:
    if len(np.unique(labels)) < 2:
        return np.nan
    return float(metric(torch.from_numpy(scores), torch.from_numpy(labels.astype(int))))


def _ece(labels: np.ndarray, scores: np.ndarray) -> float:
    if not len(labels):
        return np.nan
    return float(binary_calibration_error(torch.from_numpy(scores), torch.from_numpy(labels.astype(int)), n_bins=BINS))


def _brier(labels: np.ndarray, scores: np.ndarray) -> float:
    """Of one class the squared error of its probability (Brier 1950 sums over both, which is twice that)."""
    if not len(labels):
        return np.nan
    return float(mean_squared_error(torch.from_numpy(scores), torch.from_numpy(labels)))


def weighted_auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve ``[R]``, a tie counts half; NaN where a class has no weight.

    Args:
        labels: ``[S]`` 0 or 1.
        scores: ``[S]``.
        weights: ``[R, S]``, >= 0.
    """
    above, below = _by_score(labels, scores, weights)
    beaten = np.cumsum(below, axis=-1) - below / 2
    return ratio((above * beaten).sum(axis=-1), above.sum(axis=-1) * below.sum(axis=-1))


def weighted_average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over thresholds of precision times the recall gained ``[R]``; NaN where a class has no weight. Arguments as
    in `weighted_auroc`."""
    positive, negative = (counts[..., ::-1] for counts in _by_score(labels, scores, weights))
    said_right, said = np.cumsum(positive, axis=-1), np.cumsum(positive + negative, axis=-1)
    precision = np.where(positive > 0, ratio(said_right, said), 0)
    total = positive.sum(axis=-1)
    value = ratio((precision * positive).sum(axis=-1), total)
    return np.where((total > 0) & (negative.sum(axis=-1) > 0), value, np.nan)


def weighted_ece(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error ``[R]``: mean gap between score and share present, over `BINS` equal bins; NaN where
    there is no weight. Arguments as in `weighted_auroc`."""
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)  # torchmetrics' own: shares of votes lie on edges
    places = torch.bucketize(torch.from_numpy(scores), edges, right=True).numpy() - 1
    gaps = np.abs((weights * (labels - scores)) @ np.eye(BINS + 1)[places])
    return ratio(gaps.sum(axis=-1), weights.sum(axis=-1))


def weighted_brier(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Brier score ``[R]``: mean square of score minus label; NaN where there is no weight. Arguments as in
    `weighted_auroc`."""
    return ratio(weights @ (scores - labels) ** 2, weights.sum(axis=-1))


def _by_score(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the positive and of the negative studies at each distinct score, from the lowest, ``[R, G]`` each."""
    if not len(scores):
        return (np.zeros((len(weights), 0)),) * 2
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    yes, weights = labels[order] == 1, weights[:, order]
    return np.add.reduceat(weights * yes, starts, axis=-1), np.add.reduceat(weights * ~yes, starts, axis=-1)


WEIGHTED: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "auroc": weighted_auroc,
    "average_precision": weighted_average_precision,
    "ece": weighted_ece,
    "brier": weighted_brier,
}
