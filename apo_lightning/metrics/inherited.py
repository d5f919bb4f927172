"""Does one err where, and as, its teachers do? Letters in shapes: S studies, F findings, U teachers.

- ``inherited``: correlation (phi) between "it is wrong" and "teacher u is wrong", over the studies within each finding,
  so that a finding which is hard for all is not taken for a bias in common; of each teacher the mean over the findings
  in which both are wrong somewhere and right somewhere; their mean over the teachers.
- ``inherited_most``: the largest over the teachers. Its interval is that of this teacher: it was chosen by the same
  data, so that a large one among many teachers may be luck.
- ``repeats``: does it repeat what few teachers alone get wrong? Where the vote of the teachers is right: how much more
  often it errs as u does where u is wrong, than it errs where u is right. Compared within each finding and label, so
  that whoever says "absent" too often does not seem to repeat whoever does so too, and pooled with the weights of
  Mantel and Haenszel (Greenland and Robins 1985); then the mean over the teachers. 0: a teacher's slip makes no
  difference; 1: it says what u says. A refusal repeats nothing.

What is wrong is what the table counts as wrong (`findings`, `progression`): a refusal is, and what a readable text
does not state counts as absent. A teacher has no part in studies of which it has no readable text, as in the vote:
there is nothing to take over. Phi is Matthews' correlation coefficient of the two errors (torchmetrics'
``binary_matthews_corrcoef``). It tells errors in common, not where they come from: two that both say "absent" too
often have some whatever taught them. The rows of the teachers (each beside the others) and of constant answers are
there to compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from apo_lightning.metrics.correct import Correct
from apo_lightning.metrics.outcomes import MEAN, Metrics, Outcomes, each_and_mean, mean_defined, ratio

TOGETHER, SLIPS = 4, 4
"""Counts of a teacher and finding, and of each of its labels."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The answers of one row of a table.

    Attributes:
        correct: which are right.
        said: ``[S, F]`` whole numbers, one a kind of answer.
        silent: the number in ``said`` of what says nothing (a refusal, a course that is not told); those below it are
            the labels.
        truth: ``[S, F]`` the label as such a number; anything where there is none.
    """

    correct: Correct
    said: np.ndarray
    silent: int
    truth: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """``[S, F]`` bool: labelled, and not right."""
        return (self.correct.labelled == 1) & (self.correct.right == 0)

    @property
    def heard(self) -> np.ndarray:
        """``[S, F]`` bool: labelled, and something is said."""
        return (self.correct.labelled == 1) & (self.said != self.silent)


@dataclass(frozen=True, eq=False)
class InheritedOutcomes(Outcomes):
    """Of every teacher and finding the counts of `shared_counts`.

    Attributes:
        teachers: names of the U teachers, at least one.
        findings: names of the F findings.
        labels: how many a finding can have.
    """

    teachers: Sequence[str] = field(kw_only=True)
    findings: Sequence[str] = field(kw_only=True)
    labels: int = field(kw_only=True)

    ranges = dict.fromkeys(("inherited", "inherited_most", "repeats"), (-1.0, 1.0))

    def metrics(self, sums: np.ndarray) -> Metrics:
        each, again = self._of(sums)
        return {
            **each_and_mean("inherited", self.named, each),
            ("inherited_most", MEAN): each[..., self._most],
            **each_and_mean("repeats", self.named, again),
        }

    @property
    def most(self) -> str:
        """The teacher with the largest correlation; the first of equals."""
        return self.named[self._most]

    @property
    def named(self) -> list[str]:
        """Teachers as the table calls them, where ``mean`` is taken."""
        return [f"{name} (teacher)" if name == MEAN else name for name in self.teachers]

    @cached_property
    def _most(self) -> int:
        each, _ = self._of(self.counts.sum(axis=0))
        return int(np.argmax(np.where(np.isnan(each), -np.inf, each)))

    def _of(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both measures ``[..., U]``."""
        shape = (*sums.shape[:-1], len(self.teachers), len(self.findings))
        cells = np.asarray(sums, float).reshape(*shape, TOGETHER + SLIPS * self.labels)
        slips = cells[..., TOGETHER:].reshape(*shape[:-1], len(self.findings) * self.labels, SLIPS)
        return mean_defined(phi(cells[..., :TOGETHER])), pooled(slips)


def phi(sums: np.ndarray) -> np.ndarray:
    """Correlation of two events ``[...]`` from (cases, one, other, both) ``[..., 4]``; NaN where one of them never or
    always happens.

    >>> phi(np.array([8.0, 4, 4, 3]))
    array(0.5)
    """
    cases, one, other, both = np.moveaxis(sums, -1, 0)
    spread = one * (cases - one) * other * (cases - other)
    return ratio(cases * both - one * other, np.sqrt(spread))


def pooled(sums: np.ndarray) -> np.ndarray:
    """Mantel-Haenszel's difference of two shares over G strata ``[...]``, from (teacher wrong, of these wrong as it is,
    teacher right, of these wrong) ``[..., G, 4]``; NaN where no stratum has both.

    >>> pooled(np.array([[4.0, 3, 12, 3], [0, 0, 9, 9]]))
    array(0.5)
    """
    slips, taken, others, own = np.moveaxis(sums, -1, 0)
    each = slips + others
    over = np.where(each > 0, ratio(taken * others - own * slips, each), 0).sum(axis=-1)
    return ratio(over, np.where(each > 0, ratio(slips * others, each), 0).sum(axis=-1))


def shared_counts(one: Judged, teachers: Sequence[Judged], vote: Judged) -> np.ndarray:
    """``[S, U, F, 4 + 4 L]`` 0 or 1: heard and labelled, it is wrong, the teacher is wrong, both are; then, where the
    vote is right, for each of L labels: the teacher is wrong, it errs alike; the teacher is right, it says so wrongly.
    """
    wrong, settled = one.wrong, ~vote.wrong
    is_label = one.truth[..., None] == np.arange(one.silent)
    size = (len(wrong), len(teachers), wrong.shape[1], TOGETHER + SLIPS * one.silent)
    found = np.zeros(size, np.uint8)  # of few bytes: every row of a table has one
    for place, teacher in enumerate(teachers):
        heard, theirs = teacher.heard, teacher.wrong
        slip, other = heard & theirs & settled, heard & ~theirs & settled
        together = np.stack([heard, heard & wrong, heard & theirs, heard & wrong & theirs], axis=-1)
        slips = [slip, slip & wrong & (one.said == teacher.said), other, other & wrong & one.heard]
        by_label = np.stack(slips, axis=-1)[..., None, :] & is_label[..., None]
        found[:, place] = np.concatenate([together, by_label.reshape(*wrong.shape, SLIPS * one.silent)], axis=-1)
    return found


def inherited(one: Judged, teachers: Mapping[str, Judged], vote: Judged) -> InheritedOutcomes:
    """What is counted of one row beside its teachers and their vote.

    Raises:
        ValueError: there is no teacher, or not all were asked the same.
    """
    if not teachers:
        raise ValueError("inherited needs at least one teacher, got none")
    for name, other in {**teachers, "the vote": vote}.items():
        if not one.correct.asks_as(other.correct):
            raise ValueError(f"{name} must be asked the same studies and findings, with the same labels")
    counts = shared_counts(one, list(teachers.values()), vote)
    return InheritedOutcomes(
        one.correct.patients,
        counts.reshape(len(counts), np.prod(counts.shape[1:], dtype=int)),
        teachers=tuple(teachers),
        findings=tuple(one.correct.findings),
        labels=one.silent,
    )
