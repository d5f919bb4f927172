"""How far the teachers are divided, and what their vote is worth if they err independently: numbers of a whole corpus
that can be had before anything is trained, without labels. Sides and severities do not count here.

The accuracy of each teacher follows from how often every two agree, if each is right with one probability whatever the
truth, and independently of the others given the truth (Dawid and Skene 1979 with one parameter a rater): then

    2 P(u and v agree) - 1 = (2 p_u - 1) (2 p_v - 1)

so that three teachers are enough; two are taken for equally good. The vote's accuracy is what such teachers would have.
Errors in common make teachers agree without being right, so that both numbers are too high then (`independence` tests
that, with labels). Worked out finding by finding, and the mean taken: what is easy in one is not in another.

Letters in shapes: C cells (a study and a finding), S studies, N teachers, F findings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from apo_lightning.drift.corpus import Corpus
from apo_lightning.metrics.outcomes import mean_defined, ratio
from apo_lightning.metrics.subsets import Stated

ROUNDS = 500
_STILL = 1e-9
_START = 0.1
"""The least from which a search for 2 p - 1 begins: 0 would stay 0."""


@dataclass(frozen=True)
class Summary:
    """Of a corpus; NaN where it is not defined.

    Attributes:
        cells: (study, finding) that two teachers or more speak of.
        divided: share of these of which not all say the same.
        entropy: mean entropy of their vote, in bits: 0 where all say the same, 1 where it is a tie.
        expected: teacher to its accuracy, as agreement has it; the mean over findings.
        vote_expected: the accuracy of the vote, over the cells that anybody speaks of; the mean over findings.
        vote_accuracy: what it is by the labels (`metrics.subsets`), where there are any.
    """

    cells: int
    divided: float
    entropy: float
    expected: dict[str, float]
    vote_expected: float
    vote_accuracy: float


def summary(corpus: Corpus) -> Summary:
    """Of all teachers and findings."""
    yes, no = (corpus.said == 1).sum(axis=1), (corpus.said == 0).sum(axis=1)
    shared = yes + no > 1
    share = yes[shared] / (yes + no)[shared]
    each = np.stack([one_coin(*agreements(corpus.said[..., f])) for f in range(len(corpus.findings))])
    votes = np.array([expected_vote(corpus.said[..., f], own) for f, own in enumerate(each)])
    expected = mean_defined(each.T)
    return Summary(
        cells=int(shared.sum()),
        divided=float(((share > 0) & (share < 1)).mean()) if len(share) else np.nan,
        entropy=float(entropy(share).mean()) if len(share) else np.nan,
        expected={name: float(value) for name, value in zip(corpus.teachers, expected, strict=True)},
        vote_expected=float(mean_defined(votes)),
        vote_accuracy=_right(corpus),
    )


def _right(corpus: Corpus) -> float:
    if corpus.truth is None:
        return np.nan
    stated = Stated(corpus.said, corpus.truth, corpus.patients)
    return stated.vote(np.ones(len(corpus.teachers), bool))


def entropy(share: np.ndarray) -> np.ndarray:
    """In bits, of a vote that a share in [0, 1] of the voters casts one way.

    >>> entropy(np.array([0.0, 0.5, 0.25])).round(3)
    array([0.   , 1.   , 0.811])
    """
    return -(xlogy(share, share) + xlogy(1 - share, 1 - share)) / np.log(2) + 0.0


def agreements(said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every two teachers how often they say the same, and how often both say something, ``[N, N]`` each; 0 on the
    diagonal.

    Args:
        said: ``[C, N]`` 1 present, 0 absent, NaN not stated.
    """
    yes, no = (said == 1).astype(float), (said == 0).astype(float)
    apart = 1 - np.eye(said.shape[1])
    return (yes.T @ yes + no.T @ no) * apart, (yes + no).T @ (yes + no) * apart


def one_coin(agreed: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """``[N]`` the accuracy of each teacher, in [.5, 1]: least squares of ``2 agreed / counted - 1`` against products of
    ``2 p - 1``, a pair counting as often as both spoke. NaN of one that never spoke beside another.

    Args:
        agreed, counted: as `agreements`.
    """
    beyond = np.nan_to_num(2 * ratio(agreed, counted) - 1)
    usual = ratio((beyond * counted).sum(), counted.sum())
    if np.isnan(usual):
        return np.full(len(agreed), np.nan)
    skill = np.full(len(agreed), max(float(usual), _START**2) ** 0.5)
    for _ in range(ROUNDS):
        before = skill.copy()
        for u in range(len(skill)):
            own = counted[u] * skill
            found = ratio((own * beyond[u]).sum(), (own * skill).sum())  # NaN beside coins alone, who show nothing
            skill[u] = np.clip(np.nan_to_num(found), 0, 1)
        if np.abs(skill - before).max() < _STILL:
            break
    return np.where(counted.sum(axis=1) > 0, (1 + skill) / 2, np.nan)


def expected_vote(said: np.ndarray, right: np.ndarray) -> float:
    """How often the majority of those who speak is right, if each errs independently; a tie is right every second time.
    The mean over the cells that anybody of known accuracy speaks of; NaN where there is none.

    Args:
        said: ``[C, N]`` 1, 0, NaN not stated.
        right: ``[N]`` the chance that each is right; NaN unknown: left out.
    """
    known = ~np.isnan(right)
    speaks = ~np.isnan(said[:, known])
    chances = np.zeros((len(said), int(known.sum()) + 1))  # of how many are right
    chances[:, 0] = 1
    for voter, chance in zip(speaks.T, right[known], strict=True):
        one_more = np.roll(chances, 1, axis=1)  # the last is still 0
        chances = np.where(voter[:, None], (1 - chance) * chances + chance * one_more, chances)
    count, voters = np.arange(chances.shape[1]), speaks.sum(axis=1, keepdims=True)
    wins = (2 * count > voters) + 0.5 * (2 * count == voters)
    each = (chances * wins).sum(axis=1)[voters[:, 0] > 0]
    return float(each.mean()) if len(each) else np.nan
