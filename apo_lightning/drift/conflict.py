"""How much the teachers contradict each other on a study.

Two statements of a finding contradict each other as in `text.conflict`: one says present and the other absent, or both
say present, one on the left and the other on the right. What is not stated contradicts nothing, "bilateral" contradicts
neither side, and an absence that is said of one side alone leaves the other.

Letters in shapes: S studies, N teachers, F findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from apo_lightning.drift.corpus import SIDES, Corpus
from apo_lightning.metrics.outcomes import ratio

LEFT, RIGHT, BILATERAL = (SIDES.index(name) for name in ("left", "right", "bilateral"))


@dataclass(frozen=True, eq=False)
class Contradictions:
    """Two teachers beside each other, ``[S, F]`` bool each.

    Attributes:
        both: both state the finding.
        presence: one says present, the other absent.
        sided: both say present and name a side.
        side: of these, one left and the other right.
        graded: both say present and name a severity.
        severity: of these, not the same.
    """

    both: np.ndarray
    presence: np.ndarray
    sided: np.ndarray
    side: np.ndarray
    graded: np.ndarray
    severity: np.ndarray

    @property
    def any(self) -> np.ndarray:
        """They contradict each other, in presence or side. Another severity is no contradiction."""
        return self.presence | self.side


def contradictions(corpus: Corpus, one: int, other: int) -> Contradictions:
    """Of two teachers by their places in ``corpus.teachers``."""
    said, side, grade = ((x[:, one], x[:, other]) for x in (corpus.said, corpus.sides, corpus.severities))
    present = (said[0] == 1) & (said[1] == 1)
    sided = present & (side[0] > 0) & (side[1] > 0)
    graded = present & (grade[0] > 0) & (grade[1] > 0)
    return Contradictions(
        both=~np.isnan(said[0]) & ~np.isnan(said[1]),
        presence=_denies(said[0], side[0], said[1], side[1]) | _denies(said[1], side[1], said[0], side[0]),
        sided=sided,
        side=sided & (np.minimum(*side) == LEFT) & (np.maximum(*side) == RIGHT),
        graded=graded,
        severity=graded & (grade[0] != grade[1]),
    )


def _denies(said: np.ndarray, side: np.ndarray, other: np.ndarray, other_side: np.ndarray) -> np.ndarray:
    """The first calls absent what the second calls present: wholly, or on a side where it is said to be."""
    return (said == 0) & (other == 1) & ((side == 0) | (side == other_side) | (other_side == BILATERAL))


@dataclass(frozen=True, eq=False)
class Conflict:
    """Shares in [0, 1], NaN where no two teachers state the same finding.

    A score is the chance that two teachers drawn among those who state a finding contradict each other. Two camps of
    equal size reach 1 with two teachers, .57 with seven and .5 with very many, so that it compares over studies that
    not all teachers speak of. A teacher that refuses or says nothing of a finding has no part in it.

    Attributes:
        by_finding: ``[S, F]``.
        by_study: ``[S]`` the same over all findings of a study together: of two teachers and a finding that both state.
        pairs: ``[S, F]`` how many pairs state the finding.
    """

    by_finding: np.ndarray
    by_study: np.ndarray
    pairs: np.ndarray

    @property
    def worst(self) -> np.ndarray:
        """``[S]`` the highest of the findings."""
        known = np.where(np.isnan(self.by_finding), -1.0, self.by_finding).max(axis=1, initial=-1.0)
        return np.where(known < 0, np.nan, known)


def conflict(corpus: Corpus) -> Conflict:
    """Of every study and finding."""
    pairs = np.zeros((len(corpus.studies), len(corpus.findings)))
    against = np.zeros_like(pairs)
    for i, j in combinations(range(len(corpus.teachers)), 2):
        found = contradictions(corpus, i, j)
        pairs += found.both
        against += found.any
    return Conflict(ratio(against, pairs), ratio(against.sum(axis=1), pairs.sum(axis=1)), pairs)
