"""How well the course of findings is told: improving, stable or worsening since the earlier image.

The task of MS-CXR-T (Bannur et al. 2023, arXiv:2301.04558). Accuracy is Top-1 over the three classes; its classes are
far from equally frequent, so macro accuracy, the mean of the recalls of the classes that occur, stands beside it; it
compares classes, so a finding whose labels are all of one class has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from apo_lightning.metrics.correct import Correct
from apo_lightning.metrics.outcomes import MEAN, Metrics, Outcomes, each_and_mean, mean_defined, ratio
from apo_lightning.text.progression import CLASSES


@dataclass(frozen=True, eq=False)
class CourseOutcomes(Outcomes):
    """For every finding and class the pair (labelled so, and said so too), then (labels not answered, labels).

    Attributes:
        findings: names of the F findings, each with a label somewhere.
    """

    findings: Sequence[str] = field(kw_only=True)

    def metrics(self, sums: np.ndarray) -> Metrics:
        pairs = sums[..., :-2].reshape(*sums.shape[:-1], len(self.findings), len(CLASSES), 2)
        labelled, right = pairs[..., 0], pairs[..., 1]
        recall = mean_defined(ratio(right, labelled))
        several = (labelled > 0).sum(axis=-1) > 1
        top1 = each_and_mean("progression_accuracy", self.findings, ratio(right.sum(axis=-1), labelled.sum(axis=-1)))
        macro = each_and_mean("progression_macro_accuracy", self.findings, np.where(several, recall, np.nan))
        return {**top1, **macro, ("progression_unstated", MEAN): ratio(sums[..., -2], sums[..., -1])}

    def correct(self) -> Correct:
        pairs = self.counts[:, :-2].reshape(len(self.counts), len(self.findings), len(CLASSES), 2).sum(axis=2)
        return Correct("progression_accuracy", self.findings, self.patients, pairs[..., 1], pairs[..., 0])


def of_progression(
    labels: Sequence[Mapping[str, str]],
    answers: Sequence[Mapping[str, str]],
    findings: Sequence[str],
    patients: Sequence[str] | None = None,
    *,
    every: bool = False,
) -> CourseOutcomes:
    """What is counted of the courses that answers tell.

    Args:
        labels: finding to one of ``CLASSES`` for each of S studies; findings without a label count for nothing.
        answers: the same for the answers; a finding that an answer leaves out is wrong.
        findings: those that are scored; one without any label is left out.
        patients: ``[S]``; None takes each study for a patient of its own.
        every: keep findings without any label.

    Raises:
        ValueError: another number of answers than of labels, or a label that is no class.
    """
    if len(labels) != len(answers):
        raise ValueError(f"labels and answers must be as many, got {len(labels)} and {len(answers)}")
    for label in (value for study in labels for value in study.values()):
        if label not in CLASSES:
            raise ValueError(f"labels must be one of {', '.join(CLASSES)}, got '{label}'")
    named = [name for name in findings if every or any(name in study for study in labels)]
    cells = [(name, course) for name in named for course in CLASSES]
    counts = np.zeros((len(labels), 2 * len(cells) + 2))
    for row, truth, said in zip(counts, labels, answers, strict=True):
        for place, (name, course) in enumerate(cells):
            if truth.get(name) == course:
                row[2 * place : 2 * place + 2] = 1, said.get(name) == course
        asked = [name for name in named if name in truth]
        row[-2:] = sum(name not in said for name in asked), len(asked)
    who = [str(i) for i in range(len(labels))] if patients is None else patients
    codes = {course: code for code, course in enumerate(CLASSES)}
    told = np.array([[codes.get(said.get(name, ""), len(CLASSES)) for name in named] for said in answers], int)
    return CourseOutcomes(who, counts, said=told.reshape(len(labels), len(named)), findings=named)
