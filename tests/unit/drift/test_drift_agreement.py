"""Kappas and contradictions of teachers: by hand, and against statsmodels and sklearn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa

from apo_lightning.drift import agreement
from apo_lightning.drift.conflict import conflict, contradictions
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.measured import fleiss, fleiss_counts, intervals
from apo_lightning.text.conflict import in_conflict
from tests.helpers.corpora import corpus

NAN = np.nan
NONE, LEFT, RIGHT, BOTH = range(4)


def drawn(studies: int = 60, teachers: int = 4, findings: int = 3, silent: float = 0.2, seed: int = 0) -> Corpus:
    draw = np.random.default_rng(seed)
    size = (studies, teachers, findings)
    said = np.where(draw.random(size) < silent, NAN, draw.integers(2, size=size))
    sides, grades = draw.integers(4, size=size), draw.integers(4, size=size)
    sides = np.where(said == 0, sides % 3, np.where(said == 1, sides, 0))
    patients = [f"p{i // 2}" for i in range(studies)]
    return corpus(said, sides=sides, severities=np.where(said == 1, grades, 0), patients=patients)


def test_fleiss_by_hand() -> None:
    """Three raters: 3:0, 2:1, 0:3, pairs alike 1, 1/3, 1; five of nine say the first: chance (25 + 16) / 81."""
    found = fleiss(fleiss_counts(np.array([[3, 0], [2, 1], [0, 3]])).sum(axis=0))
    assert found == pytest.approx((7 / 9 - 41 / 81) / (1 - 41 / 81))


def test_fleiss_of_unequal_numbers_of_raters_by_hand() -> None:
    """Two of two, one of two, two of three say yes: alike 1, 0, 1/3; yes on average (1 + 1/2 + 2/3) / 3 = 13/18. A
    single rater agrees with nobody and is left out."""
    votes = np.array([[0, 2], [1, 1], [1, 2], [1, 0]])
    chance = (13 / 18) ** 2 + (5 / 18) ** 2
    assert fleiss(fleiss_counts(votes).sum(axis=0)) == pytest.approx((4 / 9 - chance) / (1 - chance))


def test_fleiss_against_statsmodels() -> None:
    draw = np.random.default_rng(1)
    for kinds in (2, 3, 4):
        votes = draw.multinomial(7, draw.dirichlet(np.ones(kinds)), size=50)
        assert fleiss(fleiss_counts(votes).sum(axis=0)) == pytest.approx(fleiss_kappa(votes))


def test_where_all_say_the_same_there_is_no_kappa() -> None:
    assert np.isnan(fleiss(fleiss_counts(np.array([[0, 3], [0, 3]])).sum(axis=0)))
    assert np.isnan(fleiss(fleiss_counts(np.array([[0, 1]])).sum(axis=0))), "nobody to agree with"


def test_cohen_against_sklearn_where_both_state_it() -> None:
    found = drawn()
    pairs = agreement.pairwise(found, resamples=20)
    assert list(pairs) == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    for f, name in enumerate(found.findings):
        one, other = found.said[:, 1, f], found.said[:, 3, f]
        both = ~np.isnan(one) & ~np.isnan(other)
        assert pairs["b", "d"]["cohen", name].value == pytest.approx(cohen_kappa_score(one[both], other[both]))
        placed = (one == 1) & (other == 1) & (found.sides[:, 1, f] > 0) & (found.sides[:, 3, f] > 0)
        want = cohen_kappa_score(found.sides[placed, 1, f], found.sides[placed, 3, f], labels=[1, 2, 3])
        assert pairs["b", "d"]["cohen_side", name].value == pytest.approx(want)
    means = [pairs["b", "d"]["cohen", name].value for name in found.findings]
    assert pairs["b", "d"]["cohen", "mean"].value == pytest.approx(np.mean(means))


def test_fleiss_of_a_corpus_against_statsmodels() -> None:
    found = drawn(silent=0.0)
    values = agreement.agreement(found, resamples=20)
    for f, name in enumerate(found.findings):
        yes = (found.said[:, :, f] == 1).sum(axis=1)
        assert values["fleiss", name].value == pytest.approx(fleiss_kappa(np.stack([4 - yes, yes], axis=1)))


def test_contradictions_by_hand() -> None:
    """Statements of one finding by two teachers: (value, side) each, then what is counted."""
    rows = [
        ((1, LEFT), (1, RIGHT), "side"),
        ((1, LEFT), (1, BOTH), ""),
        ((1, LEFT), (1, NONE), ""),
        ((1, LEFT), (0, NONE), "presence"),
        ((0, LEFT), (1, LEFT), "presence"),
        ((0, LEFT), (1, RIGHT), ""),
        ((0, LEFT), (1, BOTH), "presence"),
        ((0, LEFT), (1, NONE), ""),
        ((0, LEFT), (0, RIGHT), ""),
    ]
    said = np.array([[[a[0]], [b[0]]] for a, b, _ in rows], float)
    sides = np.array([[[a[1]], [b[1]]] for a, b, _ in rows])
    found = corpus(said, sides=sides)
    values = agreement.agreement(found, resamples=20)
    assert values["conflict_presence", "f0"].value == pytest.approx(3 / 9)
    assert values["conflict_side", "f0"].value == pytest.approx(1 / 2), "of two rows both name a side"
    assert values["agreement", "mean"].value == pytest.approx(5 / 9)
    want = [float(bool(kind)) for *_, kind in rows]
    assert conflict(found).by_study.tolist() == conflict(found).by_finding[:, 0].tolist() == want


def test_contradictions_are_those_of_texts() -> None:
    found, names = drawn(40), [None, "left", "right", "bilateral"]
    any_ = contradictions(found, 0, 2).any
    for s, f in np.argwhere(contradictions(found, 0, 2).both):
        one, other = ((float(found.said[s, n, f]), names[found.sides[s, n, f]]) for n in (0, 2))
        assert any_[s, f] == in_conflict(one, other)


def test_conflicts_of_severity_by_hand() -> None:
    grades = np.array([[[1], [1]], [[1], [3]], [[2], [0]]])
    values = agreement.agreement(corpus(np.ones((3, 2, 1)), severities=grades), resamples=20)
    assert values["conflict_severity", "mean"].value == 1 / 2
    assert values["agreement", "mean"].value == 1, "another severity is no contradiction"


def test_a_score_of_conflict_is_of_pairs_that_state_the_finding() -> None:
    """Three say yes, one no, one nothing: 3 of 6 pairs. The other finding two state alike: 3 of 7 over both."""
    said = np.array([[[1, 0], [1, 0], [1, NAN], [0, NAN], [NAN, NAN]], np.full((5, 2), NAN)])
    found = conflict(corpus(said))
    np.testing.assert_allclose(found.by_finding, [[1 / 2, 0], [NAN, NAN]])
    np.testing.assert_allclose(found.by_study, [3 / 7, NAN])
    np.testing.assert_allclose(found.worst, [1 / 2, NAN])
    assert found.pairs.tolist() == [[6, 1], [0, 0]]


def test_half_against_half() -> None:
    for teachers, want in ((2, 1.0), (7, 12 / 21)):
        said = (np.arange(teachers) % 2).reshape(1, teachers, 1)
        assert conflict(corpus(said)).by_study[0] == pytest.approx(want)


def test_intervals_draw_patients() -> None:
    """Each study four times: as studies of their patient they tell nothing new, as patients of their own they do."""
    found = drawn(40)
    rows = np.repeat(np.arange(40), 4)
    arrays = {"sides": found.sides[rows], "severities": found.severities[rows]}
    once = agreement.agreement(corpus(found.said), 300)["fleiss", "f0"]
    same = agreement.agreement(corpus(found.said[rows], patients=[f"s{i}" for i in rows], **arrays), 300)[
        "fleiss", "f0"
    ]
    apart = agreement.agreement(corpus(found.said[rows], **arrays), 300)["fleiss", "f0"]
    assert (same.value, same.patients, same.studies) == (pytest.approx(once.value), 40, 160)
    assert same.high - same.low == pytest.approx(once.high - once.low, rel=0.2)
    assert apart.high - apart.low < 0.6 * (same.high - same.low)
    assert once.low < once.value < once.high


def test_intervals_repeat() -> None:
    found = agreement.measured(drawn())
    assert intervals(found, 50) == intervals(found, 50)


def test_kappa_below_zero_has_its_interval_below_zero() -> None:
    said = np.array([[[0], [1]], [[1], [0]]] * 20 + [[[1], [1]]] * 6, float)
    found = agreement.agreement(corpus(said), 200)["fleiss", "mean"]
    assert found.low < found.value < found.high < 0
