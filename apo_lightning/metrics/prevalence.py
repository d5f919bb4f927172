"""What one says who has read the labels of the training split and never looks at an image: a row of every table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from apo_lightning.metrics.outcomes import ratio
from apo_lightning.text.progression import CLASSES


def prevalence_scores(train_labels: np.ndarray) -> np.ndarray:
    """``[F]``: the share of positives among the labels ``[S, F]`` (1, 0, NaN unknown) of each finding.

    The same score for every study, so that its AUROC is .5 and its average precision the prevalence of the split that
    is scored. NaN for a finding without a label.
    """
    return ratio((train_labels == 1).sum(axis=0), (~np.isnan(train_labels)).sum(axis=0))


def most_frequent(train_labels: np.ndarray) -> np.ndarray:
    """``[F]`` the more frequent answer, 1 or 0, of each finding; of equally frequent ones 0, absent. NaN, stating
    nothing, for a finding without a label."""
    shares = prevalence_scores(train_labels)
    return np.where(np.isnan(shares), np.nan, shares > 0.5)


def most_frequent_courses(train: Sequence[Mapping[str, str]], findings: Sequence[str]) -> dict[str, str]:
    """The most frequent course of each finding among the labels of studies; of equally frequent ones stable, else the
    first of `progression.CLASSES`. Findings without a label are left out."""
    told = {name: Counter(study[name] for study in train if name in study) for name in findings}
    order = sorted(CLASSES, key=lambda course: course != "stable")
    return {name: max(order, key=lambda course: counts[course]) for name, counts in told.items() if counts}
