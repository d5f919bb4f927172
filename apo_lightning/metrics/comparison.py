"""Paired tests between arms that answer the same studies, corrected for how many there are.

Two tests, neither of which assumes a distribution:

- ``permutation``, of the mean over findings: the two arms' outcomes are swapped patient by patient, all studies and
  all seeds of a patient together, and the difference of the means is held against what such swaps make of it. Studies
  of one patient may depend on each other in any way. This is the test that counts.
- ``mcnemar``, of each finding: of the studies that one arm gets right and the other does not, how many go either way?
  It takes studies for independent; where patients have several it is therefore too eager. It says where a difference
  lies, not whether there is one.

Both speak of the students that were trained: seeds are averaged, not drawn, since with two to five of them no test over
seeds can reach .05 (of three pairs the smallest p is 1/4). What another training would give is in the intervals of
`bootstrap`, which draw the seeds too; a difference that one would publish has a small p and an interval without 0.

Families for Holm's correction: all pairs of arms of one measure, for ``permutation``; all pairs of arms and all
findings of one measure together, for ``mcnemar``. In a whole family a single false alarm has at most chance ``LEVEL``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from apo_lightning.metrics.correct import Correct
from apo_lightning.metrics.outcomes import MEAN, Measure, ratio
from apo_lightning.metrics.paired import holm, mcnemar, moved, permutation


@dataclass(frozen=True)
class Compared:
    """One test of ``arm`` minus ``against``.

    Attributes:
        n: what can speak for either: patients on whom the arms differ (permutation), or studies that one of them gets
            right in more seeds (mcnemar).
        statistic: difference of the means (permutation); of the ``n`` studies, those that speak for ``arm`` (mcnemar).
        p: two-sided. It and ``statistic`` are NaN where the arms have no seed in common or were not asked the same, as
            under another evaluation set; and for a finding without labels.
        p_holm: corrected within the family, see the top of this file.
    """

    arm: str
    against: str
    metric: str
    finding: str
    test: str
    n: int
    statistic: float
    p: float
    p_holm: float = float("nan")


def compare(rows: Mapping[str, Mapping[int, Measure]]) -> list[Compared]:
    """Both tests of every pair of arms, the later minus the earlier.

    Args:
        rows: for each arm what is measured of it by seed, all of one kind, in the order of the table.

    Returns:
        for each pair the permutation test, then McNemar's of every finding; nothing of measures that do not say
        what is right (`Measure.correct`).
    """
    right = {arm: {seed: one.correct() for seed, one in seeds.items()} for arm, seeds in rows.items()}
    known = {arm: {s: c for s, c in seeds.items() if c is not None} for arm, seeds in right.items()}
    pairs = combinations([arm for arm, seeds in known.items() if seeds], 2)
    return _corrected([one for against, arm in pairs for one in _pair(arm, known[arm], against, known[against])])


def _pair(arm: str, one: Mapping[int, Correct], against: str, other: Mapping[int, Correct]) -> Iterator[Compared]:
    asked, gain = next(iter(one.values())), gains(one, other)
    if gain is None:
        for name, test in ((MEAN, "permutation"), *((name, "mcnemar") for name in asked.findings)):
            yield Compared(arm, against, asked.metric, name, test, 0, float("nan"), float("nan"))
        return
    by_patient = shares_of_the_mean(gain, asked)
    labelled = asked.labelled.any(axis=0)
    value, p = (by_patient.sum(), permutation(by_patient)) if labelled.any() else (float("nan"), float("nan"))
    yield Compared(arm, against, asked.metric, MEAN, "permutation", int(moved(by_patient).sum()), float(value), p)
    for f, name in enumerate(asked.findings):
        better, worse = (int((moved(gain[:, f]) & (sign * gain[:, f] > 0)).sum()) for sign in (1, -1))
        statistic, p = (better, mcnemar(better, worse)) if labelled[f] else (float("nan"), float("nan"))
        yield Compared(arm, against, asked.metric, name, "mcnemar", better + worse, float(statistic), p)


def gains(one: Mapping[int, Correct], other: Mapping[int, Correct]) -> np.ndarray | None:
    """``[S, F]`` in ``[-1, 1]``: the share of the common seeds in which ``one`` is right and ``other`` is not, minus
    that of the opposite. None where there is no common seed, or not everyone was asked the same."""
    seeds = sorted(set(one) & set(other))
    if not seeds or not all(each.asks_as(one[seeds[0]]) for seed in seeds for each in (one[seed], other[seed])):
        return None
    return np.mean([one[seed].right - other[seed].right for seed in seeds], axis=0)


def shares_of_the_mean(gain: np.ndarray, asked: Correct) -> np.ndarray:
    """``[P]`` what each patient adds to the difference of the means over findings; their sum is that difference."""
    labelled = asked.labelled.sum(axis=0)
    each = ratio(gain, labelled)
    per_study = np.where(labelled > 0, each, 0).sum(axis=1) / max(1, int((labelled > 0).sum()))
    _, who = np.unique(np.array([*asked.patients], str), return_inverse=True)
    return np.bincount(who, weights=per_study)


def _corrected(found: list[Compared]) -> list[Compared]:
    """With ``p_holm``, family by family."""
    families = [(one.metric, one.test) for one in found]
    corrected = np.full(len(found), np.nan)
    for family in set(families):
        places = [i for i, each in enumerate(families) if each == family]
        corrected[places] = holm([found[i].p for i in places])
    return [replace(one, p_holm=float(p)) for one, p in zip(found, corrected, strict=True)]
