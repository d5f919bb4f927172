"""Scores of answers against labels, finding by finding. Letters in shapes: S studies, F findings, N teachers.

Policy, the same for students, teachers and baselines:

- a refusal counts as wrong on every labelled finding: its answer is the opposite of the label; so does a text that
  states nothing at all, since babble must not earn what always-no earns;
- a finding that a readable answer does not state (NaN) counts as answered absent;
- a label that is NaN adds nothing; a finding without a single label scores NaN and stays out of the mean;
- balanced accuracy and F1 compare two classes: a finding of which the labels hold one only scores NaN in both.

The formulas work on sums of counts, so that resamples by the thousand cost one matrix product; they equal sklearn's
``balanced_accuracy_score`` and ``f1_score`` (binary for a finding, ``average="macro"`` over findings for the mean).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from apo_lightning.metrics.correct import Correct
from apo_lightning.metrics.outcomes import MEAN, Metrics, Outcomes, Row, each_and_mean, ratio
from apo_lightning.text.votes import majority_vote

__all__ = ["MEAN", "METRICS", "FindingOutcomes", "Row", "majority_vote", "of_findings", "scores"]


def decided(labels: np.ndarray, answers: np.ndarray, refused: np.ndarray) -> np.ndarray:
    """What each answer counts as ``[S, F]`` in 0, 1 under the policy above."""
    return np.where(refused[:, None], labels == 0, answers == 1).astype(float)


def confusion(labels: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """``[S, F, 4]``: true positive, false positive, false negative, true negative; all 0 where the label is NaN."""
    yes = decisions == 1
    cells = [(labels == 1) & yes, (labels == 0) & yes, (labels == 1) & ~yes, (labels == 0) & ~yes]
    return np.stack(cells, axis=-1).astype(float)


def accuracy(table: np.ndarray) -> np.ndarray:
    """Share of right decisions (Top-1); ``table`` ``[..., 4]`` as in `confusion`."""
    return ratio(table[..., 0] + table[..., 3], table.sum(axis=-1))


def balanced_accuracy(table: np.ndarray) -> np.ndarray:
    """Mean of sensitivity and specificity; NaN where the labels hold one class only."""
    tp, fp, fn, tn = np.moveaxis(table, -1, 0)
    return (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2


def positive_f1(table: np.ndarray) -> np.ndarray:
    """F1 of the class "present", ``2 tp / (2 tp + fp + fn)``; NaN where the labels hold one class only."""
    tp, fp, fn, tn = np.moveaxis(table, -1, 0)
    both = (tp + fn > 0) & (tn + fp > 0)
    return np.where(both, ratio(2 * tp, 2 * tp + fp + fn), np.nan)


METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "positive_f1": positive_f1,
}
"""The mean of ``positive_f1`` over findings is the field's macro-F1."""


@dataclass(frozen=True, eq=False)
class FindingOutcomes(Outcomes):
    """Confusions of every finding, then a pair (counted, out of) for each of the shares.

    Attributes:
        findings: names of the F findings.
        shares: names of what is reported as a share of studies or of labelled findings.
    """

    findings: Sequence[str] = field(kw_only=True)
    shares: Sequence[str] = field(kw_only=True)

    def metrics(self, sums: np.ndarray) -> Metrics:
        width = 4 * len(self.findings)
        tables = sums[..., :width].reshape(*sums.shape[:-1], len(self.findings), 4)
        found: Metrics = {}
        for metric, score in METRICS.items():
            found |= each_and_mean(metric, self.findings, score(tables))
        for place, name in enumerate(self.shares):
            counted, out_of = (sums[..., width + 2 * place + i] for i in (0, 1))
            found[name, MEAN] = ratio(counted, out_of)
        return found

    def correct(self) -> Correct:
        tables = self.counts[:, : 4 * len(self.findings)].reshape(len(self.counts), len(self.findings), 4)
        right = tables[..., 0] + tables[..., 3]
        return Correct("accuracy", self.findings, self.patients, right, tables.sum(axis=-1))


def of_findings(
    labels: np.ndarray,
    answers: np.ndarray,
    refused: np.ndarray,
    findings: Sequence[str],
    patients: Sequence[str] | None = None,
    *,
    nothing: np.ndarray | None = None,
    normal: np.ndarray | None = None,
) -> FindingOutcomes:
    """What is counted of each answer.

    Args:
        labels: ``[S, F]`` 1 present, 0 absent, NaN unknown.
        answers: ``[S, F]`` 1, 0, or NaN where the answer does not state the finding.
        refused: ``[S]`` bool.
        findings: names of the F columns.
        patients: ``[S]``; None takes each study for a patient of its own.
        nothing: ``[S]`` bool, texts that state nothing: wrong, and a share of their own.
        normal: ``[S]`` bool, texts that call the whole film normal: a share.

    Raises:
        ValueError: shapes do not agree, or a value is none of 0, 1, NaN.
    """
    labels, answers, refused = _checked(labels, answers, refused, findings)
    unread = refused if nothing is None else refused | nothing
    tables = confusion(labels, decided(labels, answers, unread)).reshape(len(refused), 4 * len(findings))
    asked, each = ~np.isnan(labels) & ~unread[:, None], np.ones(len(refused))
    kinds = {"refusals": refused, "states_nothing": nothing, "normal": normal}
    shares: dict[str, tuple[np.ndarray, np.ndarray]] = {
        **{name: (texts, each) for name, texts in kinds.items() if texts is not None},
        "unstated": ((asked & np.isnan(answers)).sum(axis=1), asked.sum(axis=1)),
    }
    pairs = [np.asarray(column, float)[:, None] for pair in shares.values() for column in pair]
    who = [str(i) for i in range(len(refused))] if patients is None else patients
    said = np.where(unread[:, None], 2, answers == 1)
    counts = np.concatenate([tables, *pairs], axis=1)
    return FindingOutcomes(who, counts, said=said, findings=findings, shares=tuple(shares))


def scores(
    labels: np.ndarray, answers: np.ndarray, refused: np.ndarray, findings: Sequence[str], **kinds: np.ndarray
) -> list[Row]:
    """Every metric of every finding and its macro mean, then the shares of refusals and of unstated findings.

    Arguments and errors as in `of_findings`.
    """
    return of_findings(labels, answers, refused, findings, **kinds).rows()


def _checked(
    labels: np.ndarray, answers: np.ndarray, refused: np.ndarray, findings: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, answers, refused = np.asarray(labels, float), np.asarray(answers, float), np.asarray(refused)
    want = (len(refused), len(findings))
    if refused.ndim != 1 or labels.shape != want or answers.shape != want:
        raise ValueError(
            f"labels and answers must be [studies, findings] = {list(want)} by refused and findings, got "
            f"{list(labels.shape)} and {list(answers.shape)}"
        )
    for name, values in (("labels", labels), ("answers", answers)):
        odd = ~(np.isnan(values) | (values == 0) | (values == 1))
        if odd.any():
            row, column = np.argwhere(odd)[0]
            raise ValueError(f"{name} must be 0, 1 or NaN, got {values[row, column]} ({findings[column]}, row {row})")
    return labels, answers, refused.astype(bool)
