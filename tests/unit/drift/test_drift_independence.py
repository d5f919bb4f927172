"""Errors in common: by hand, against scikit-learn's mutual information, and how often p is small without any."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.independence import independence, information, windows
from apo_lightning.metrics.paired import permutation
from tests.helpers.corpora import corpus

NAN = np.nan


def drawn(
    patients: int, draw: np.random.Generator, teachers: int = 2, common: float = 0.0, uneven: float = 0.0
) -> Corpus:
    """Four findings, one to three studies a patient, each teacher wrong on 30 of 100. ``common``: share of statements
    on which all teachers meet one draw. ``uneven``: how much each teacher's rate differs from patient to patient."""
    who = np.repeat(np.arange(patients), draw.integers(1, 4, patients))
    size = (len(who), teachers, 4)
    truth = draw.integers(2, size=(len(who), 4)).astype(float)
    own, all_ = draw.random(size), draw.random((len(who), 1, 4))
    same = draw.random((len(who), 1, 4)) < common
    rates = 1 / (1 + np.exp(0.85 - uneven * draw.normal(size=(patients, teachers, 1))[who]))
    wrong = np.where(same, all_, own) < rates
    return corpus(np.where(wrong, 1 - truth[:, None], truth[:, None]), truth=truth, patients=[f"p{i}" for i in who])


def test_by_hand() -> None:
    """One finding, always present. Wrong: a on studies 0 1 2 3, b on 0 1 2 4, of eight. Rates 1/2, covariance
    3/8 - 1/4 = 1/8, deviations 1/2: correlation 1/2. Products of centred errors are 1/4 six times, -1/4 twice: of 256
    signs of eight patients the sum is as far from 0 as 4 of 8 where at least 6 or at most 2 are turned alike:
    2 (1 + 8 + 28) / 256."""
    said = np.ones((8, 2, 1))
    said[[0, 1, 2, 3], 0] = said[[0, 1, 2, 4], 1] = 0
    found = independence(corpus(said, truth=np.ones((8, 1))), signs=9999)["a", "b"]
    assert found.correlation == pytest.approx(1 / 2)
    assert (found.statements, found.patients) == (8, 8)
    assert found.p == found.holm == pytest.approx(74 / 256, abs=0.02)
    assert found.p == pytest.approx(permutation(np.array([1, 1, 1, -1, -1, 1, 1, 1.0])), abs=0.02)
    assert found.low < 0.5 < found.high <= 1


def test_information_by_hand_and_against_sklearn() -> None:
    assert information(np.array([0.5, 0.5]), np.array(0.25)) == pytest.approx(1), "one error tells the other"
    assert information(np.array([0.5, 0.25]), np.array(0.0)) == 0
    assert information(np.array([0.0, 0.25]), np.array(0.0)) == 0
    draw = np.random.default_rng(0)
    for _ in range(10):
        one, other = draw.integers(2, size=(2, 40))
        rates, covariance = np.array([one.mean(), other.mean()]), (one * other).mean() - one.mean() * other.mean()
        assert information(rates, covariance) == pytest.approx(mutual_info_score(one, other) / np.log(2))


def test_conditional_information_against_a_naive_twin() -> None:
    """Plug-in over findings and truths by tables, less about one degree of freedom for each of the eight."""
    found = drawn(60, np.random.default_rng(1), common=0.3)
    wrong = found.said != found.truth[:, None]
    naive = 0.0
    for f, value in product(range(4), (0, 1)):
        kept = found.truth[:, f] == value
        naive += kept.sum() * mutual_info_score(wrong[kept, 0, f], wrong[kept, 1, f]) / np.log(2) / found.truth.size
    bias = 8 / (2 * np.log(2) * found.truth.size)
    assert naive - 2 * bias < independence(found)["a", "b"].information < naive


def test_information_is_that_of_the_world_it_was_drawn_from() -> None:
    """Wrong on 30 of 100 each, together on .3 * .3 + .7 * .3^2; none of it is lost or added by few studies."""
    world = mutual_info_score(None, None, contingency=np.array([[153, 147], [147, 553]])) / np.log(2)
    draw = np.random.default_rng(9)
    found = [independence(drawn(100, draw, common=0.3), signs=99)["a", "b"].information for _ in range(30)]
    assert np.mean(found) == pytest.approx(world, abs=3 * np.std(found) / np.sqrt(30))


def test_errors_on_what_is_hard_for_all_are_not_dependence() -> None:
    """Both miss the second finding four times as often."""
    draw = np.random.default_rng(2)
    said = (draw.random((600, 2, 2)) > np.array([0.2, 0.8])).astype(float)
    found = independence(corpus(said, truth=np.ones((600, 2))), signs=499)["a", "b"]
    assert found.p > 0.05 and found.p_any > 0.05 and abs(found.correlation) < 0.06
    pooled = np.corrcoef((said == 0)[:, 0].ravel(), (said == 0)[:, 1].ravel())[0, 1]
    assert pooled > 0.3


def test_a_drift_of_both_is_not_dependence() -> None:
    draw = np.random.default_rng(3)
    place = np.linspace(0, 1, 1000)[:, None, None]
    said = (draw.random((1000, 2, 3)) > 0.1 + 0.5 * place).astype(float)
    found = independence(corpus(said, truth=np.ones((1000, 3))), signs=499)["a", "b"]
    assert found.p > 0.05


def test_severity_that_is_known_is_conditioned_on() -> None:
    draw = np.random.default_rng(4)
    grades = draw.integers(1, 4, size=(500, 2))
    said = (draw.random((500, 2, 2)) > np.array([0, 0.6, 0.3, 0.05])[grades][:, None]).astype(float)
    truth = np.ones((500, 2))
    with_it = independence(corpus(said, truth=truth, true_severities=grades), signs=499)["a", "b"]
    without = independence(corpus(said, truth=truth), signs=499)["a", "b"]
    assert with_it.p > 0.05 > without.p


def test_dependence_of_both_signs_is_seen_by_the_information_alone() -> None:
    draw = np.random.default_rng(5)
    one = draw.random((800, 2)) < 0.5
    same = draw.random((800, 2)) < 0.65
    other = np.where(same, one, ~one)
    other[:, 1] = np.where(same[:, 1], ~one[:, 1], one[:, 1])
    said = 1 - np.stack([one, other], axis=1).astype(float)
    found = independence(corpus(said, truth=np.ones((800, 2))), signs=499)["a", "b"]
    assert found.p > 0.05 > found.p_any == 1 / 500
    assert found.information > 0.04


@pytest.mark.parametrize("uneven", [0.0, 1.0])
def test_small_p_values_are_rare_where_errors_are_independent(uneven: float) -> None:
    """100 corpora: 5 are expected, 10 or fewer with 99 %."""
    draw = np.random.default_rng(6)
    found = [independence(drawn(80, draw, uneven=uneven), signs=99)["a", "b"] for _ in range(100)]
    assert sum(one.p <= 0.05 for one in found) <= 10
    assert sum(one.p_any <= 0.05 for one in found) <= 10
    bits = [one.information for one in found]
    assert np.mean(bits) == pytest.approx(0, abs=3 * np.std(bits) / 10)


def test_common_errors_are_found_and_corrected_over_pairs() -> None:
    found = independence(drawn(300, np.random.default_rng(7), teachers=3, common=0.3), signs=999)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    for one in found.values():
        assert one.correlation == pytest.approx(0.3, abs=0.1)
        assert one.low < one.correlation < one.high and one.p == 1 / 1000
        assert one.holm == 3 / 1000, "all of equal p are thrice it"


def test_a_teacher_without_errors_has_nothing_in_common() -> None:
    said = np.ones((30, 3, 1))
    said[:9, 1] = said[5:9, 2] = 0
    found = independence(corpus(said, truth=np.ones((30, 1))), signs=99)
    assert np.isnan([found["a", "b"].p, found["a", "b"].holm, found["a", "b"].correlation]).all()
    assert found["b", "c"].holm == found["b", "c"].p, "it is no member of the family"
    silent = independence(corpus(np.full((30, 2, 1), NAN), truth=np.ones((30, 1))), signs=99)["a", "b"]
    assert (silent.statements, silent.patients) == (0, 0) and np.isnan(silent.correlation)


def test_it_repeats_and_needs_a_truth() -> None:
    found = drawn(40, np.random.default_rng(8), common=0.2)
    assert independence(found, signs=99) == independence(found, signs=99)
    with pytest.raises(ValueError, match="need a truth"):
        independence(corpus(np.ones((3, 2, 1))))


def test_windows() -> None:
    assert windows(99).tolist() == [0] * 99
    assert np.bincount(windows(250)).tolist() == [125, 125]
    assert len(np.bincount(windows(5000))) == 10
