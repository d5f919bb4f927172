"""Do the teachers say the same? Kappas and contradictions of all of them, and of every two, with intervals.

Agreement is over what is stated: a teacher that refuses, or does not speak of a finding, is no rater of it; how often
that happens is a rate of its own (`profiles`). Kappa takes chance out: two teachers that say "absent" of everything
agree always, and have no kappa. By finding, each of these has a mean over the findings where it is defined.

- ``fleiss``, ``cohen``: of present and absent (Fleiss 1971, Cohen 1960).
- ``fleiss_side``, ``cohen_side``: of left, right and bilateral, of findings said to be present with a side.
- ``fleiss_severity``, ``cohen_severity``: of mild, moderate and severe.
- ``agreement``: share of pairs of statements that do not contradict each other (`conflict`).
- ``conflict_presence``, ``conflict_side``, ``conflict_severity``: share of pairs of statements that do, of those that
  both name what they could differ in.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from apo_lightning.drift.conflict import Contradictions, contradictions
from apo_lightning.drift.corpus import SEVERITIES, SIDES, Corpus
from apo_lightning.drift.measured import Block, Measured, cohen, fleiss, fleiss_counts, intervals, shared
from apo_lightning.metrics.bootstrap import RESAMPLES, Interval, Name


def agreement(corpus: Corpus, resamples: int = RESAMPLES) -> dict[Name, Interval]:
    """(measure, finding or ``mean``) to its value over all teachers together."""
    return intervals(measured(corpus), resamples)


def pairwise(corpus: Corpus, resamples: int = RESAMPLES) -> dict[tuple[str, str], dict[Name, Interval]]:
    """The same of every two teachers, in the order of ``corpus.teachers``."""
    names = corpus.teachers
    pairs = combinations(range(len(names)), 2)
    return {(names[i], names[j]): intervals(measured_pair(corpus, i, j), resamples) for i, j in pairs}


def measured(corpus: Corpus) -> Measured:
    """Of all teachers together, to be resampled with anything else."""
    names = range(len(corpus.teachers))
    found = [contradictions(corpus, i, j) for i, j in combinations(names, 2)]
    blocks: dict[str, Block] = {f"fleiss{name}": (_votes(*each), fleiss) for name, each in _rated(corpus).items()}
    return Measured.of(corpus.patients, corpus.findings, {**blocks, **_contradicted(corpus, found)})


def measured_pair(corpus: Corpus, one: int, other: int) -> Measured:
    """Of two teachers."""
    blocks: dict[str, Block] = {
        f"cohen{name}": (_table(rated[:, one], rated[:, other], kinds), cohen)
        for name, (rated, kinds) in _rated(corpus).items()
    }
    found = [contradictions(corpus, one, other)]
    return Measured.of(corpus.patients, corpus.findings, {**blocks, **_contradicted(corpus, found)})


def _rated(corpus: Corpus) -> Mapping[str, tuple[np.ndarray, int]]:
    """Of presence, side and severity the categories ``[S, N, F]`` from 0 (-1 not said), and how many there are."""
    present = corpus.said == 1
    return {
        "": (np.where(np.isnan(corpus.said), -1, corpus.said).astype(int), 2),
        "_side": (np.where(present, corpus.sides, 0).astype(int) - 1, len(SIDES) - 1),
        "_severity": (np.where(present, corpus.severities, 0).astype(int) - 1, len(SEVERITIES) - 1),
    }


def _votes(rated: np.ndarray, kinds: int) -> np.ndarray:
    """``[S, F, 2 + K]`` as `fleiss_counts`, of categories ``[S, N, F]``."""
    return fleiss_counts(np.stack([(rated == k).sum(axis=1) for k in range(kinds)], axis=-1))


def _table(one: np.ndarray, other: np.ndarray, kinds: int) -> np.ndarray:
    """``[S, F, K * K]`` 1 in the cell of the two categories ``[S, F]``; all 0 where one is missing."""
    cell = np.where((one >= 0) & (other >= 0), one * kinds + other, -1)
    return cell[..., None] == np.arange(kinds * kinds)


def _contradicted(corpus: Corpus, found: list[Contradictions]) -> dict[str, Block]:
    """Shares of pairs of statements, counted over pairs of teachers."""
    empty = np.zeros((len(corpus.studies), len(corpus.findings)))

    def counted(name: str) -> np.ndarray:
        return sum((getattr(one, name) for one in found), empty)

    return {
        "agreement": shared(counted("both") - counted("any"), counted("both")),
        "conflict_presence": shared(counted("presence"), counted("both")),
        "conflict_side": shared(counted("side"), counted("sided")),
        "conflict_severity": shared(counted("severity"), counted("graded")),
    }
