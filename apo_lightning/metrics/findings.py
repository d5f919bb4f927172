"""Scores of answers against labels, finding by finding. Letters in shapes: S studies, F findings, N teachers.

Policy, the same for students, teachers and baselines:

- a refusal counts as wrong on every labelled finding: its answer is the opposite of the label; so does a text that
  states nothing at all, since babble must not earn what always-no earns;
- a finding that a readable answer does not state (NaN) counts as answered absent;
- a label that is NaN adds nothing; a finding without a single label scores NaN and stays out of the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn import metrics as sk

MEAN = "mean"
Row = tuple[str, str, float]
"""(metric, finding or ``mean``, value)."""


def decided(labels: np.ndarray, answers: np.ndarray, refused: np.ndarray) -> np.ndarray:
    """What each answer counts as ``[S, F]`` in 0, 1 under the policy above."""
    return np.where(refused[:, None], labels == 0, answers == 1).astype(float)


def accuracy(labels: np.ndarray, decisions: np.ndarray) -> float:
    """Share of right decisions (Top-1) of one finding; ``labels`` and ``decisions`` ``[S]`` in 0, 1."""
    return float(np.mean(labels == decisions))


def balanced_accuracy(labels: np.ndarray, decisions: np.ndarray) -> float:
    """Mean of sensitivity and specificity; the recall of the one class where only one occurs among the labels."""
    return float(sk.recall_score(labels, decisions, labels=[0, 1], average="macro", zero_division=np.nan))


def f1(labels: np.ndarray, decisions: np.ndarray) -> float:
    """Macro-F1: mean of the F1 of "present" and of "absent"; a class neither labelled nor answered is left out."""
    return float(sk.f1_score(labels, decisions, labels=[0, 1], average="macro", zero_division=np.nan))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "f1": f1,
}  # fmt: skip


def scores(labels: np.ndarray, answers: np.ndarray, refused: np.ndarray, findings: Sequence[str], *,
           nothing: np.ndarray | None = None, normal: np.ndarray | None = None) -> list[Row]:  # fmt: skip
    """Every metric of every finding and its macro mean, then the mean shares of refusals and of unstated findings.

    Args:
        labels: ``[S, F]`` 1 present, 0 absent, NaN unknown.
        answers: ``[S, F]`` 1, 0, or NaN where the answer does not state the finding.
        refused: ``[S]`` bool.
        findings: names of the F columns.
        nothing: ``[S]`` bool, texts that state nothing: wrong, and a share of their own.
        normal: ``[S]`` bool, texts that call the whole film normal: a share.

    Raises:
        ValueError: shapes do not agree, or a value is none of 0, 1, NaN.
    """
    labels, answers, refused = _checked(labels, answers, refused, findings)
    unread = refused if nothing is None else refused | nothing
    decisions = decided(labels, answers, unread)
    rows: list[Row] = []
    for metric, score in METRICS.items():
        values = [_over_labelled(score, labels[:, f], decisions[:, f]) for f in range(len(findings))]
        rows += [(metric, name, value) for name, value in zip(findings, values, strict=True)]
        rows.append((metric, MEAN, _mean(values)))
    rows.append(("refusals", MEAN, _mean(refused)))
    shares = {"states_nothing": nothing, "normal": normal}
    rows += [(name, MEAN, _mean(share)) for name, share in shares.items() if share is not None]
    rows.append(("unstated", MEAN, unstated(labels, answers, unread)))
    return rows


def unstated(labels: np.ndarray, answers: np.ndarray, refused: np.ndarray) -> float:
    """Share of labelled findings that readable answers leave out; 0 where no answer is readable."""
    asked = ~np.isnan(labels) & ~refused[:, None]
    return float(np.isnan(answers[asked]).mean()) if asked.any() else 0.0


def majority_vote(answers: np.ndarray) -> np.ndarray:
    """Answer ``[S, F]`` of most of N teachers ``[S, N, F]``, over those who state the finding.

    A tie counts as absent; NaN only where nobody states the finding.
    """
    present, absent = (answers == 1).sum(axis=1), (answers == 0).sum(axis=1)
    return np.where(present + absent == 0, np.nan, (present > absent).astype(float))


def _over_labelled(score: Callable[[np.ndarray, np.ndarray], float], labels: np.ndarray, answers: np.ndarray) -> float:
    known = ~np.isnan(labels)
    return score(labels[known], answers[known]) if known.any() else float("nan")


def _mean(values: Sequence[float] | np.ndarray) -> float:
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")


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
