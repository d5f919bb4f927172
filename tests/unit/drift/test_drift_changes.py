"""Changes along the stream: the search against brute force and ruptures, and how often nothing is found in nothing."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from ruptures import Binseg

from apo_lightning.drift import changes
from apo_lightning.drift.changes import AGREEMENT, binned, find, statistic, streams
from tests.helpers.corpora import corpus

NAN = np.nan


def stream(*levels: float, each: int = 100, noise: float = 0.5, seed: int = 0) -> np.ndarray:
    return np.repeat(levels, each) + np.random.default_rng(seed).normal(0, noise, each * len(levels))


def found_in(values: np.ndarray, orders: int = 99, **given) -> changes.Changes:
    names = [f"p{i}" for i in range(len(values))]
    return find({"x": values}, np.linspace(0, 1, len(values)), given.pop("patients", names), orders, **given)["x"]


def test_bins_hold_equally_many_values_that_are_known() -> None:
    means, edges = binned(np.array([1, NAN, 3, 5, 7, NAN, 9, 9]), bins=3)
    assert (means.tolist(), edges.tolist()) == ([2, 6, 9], [0, 2, 4, 6])
    assert binned(np.arange(3.0), bins=9)[0].tolist() == [0, 1, 2]


def test_the_statistic_by_hand() -> None:
    """Forty values: 0 in the first half, 1 in the second. The one change explains 40 / 4, all of it: no other count
    of changes explains more a change."""
    assert statistic(np.repeat([0.0, 1.0], 20)) == pytest.approx(10)


def test_the_statistic_against_every_segmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST", 2)
    values = np.random.default_rng(3).normal(size=24)
    best = 0.0
    for k in (1, 2):
        for cuts in combinations(range(2, 23), k):
            ends = [0, *cuts, 24]
            if min(end - start for start, end in pairwise(ends)) < 2:
                continue
            cost = sum(values[start:end].var() * (end - start) for start, end in pairwise(ends))
            best = max(best, (values.var() * 24 - cost) / k)
    assert statistic(values) == pytest.approx(best)


def test_of_one_change_it_is_what_ruptures_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST", 1)
    values = stream(0, 1)
    search = Binseg(model="l2", min_size=10, jump=1).fit(values)
    cut, gain = search.single_bkp(0, len(values))
    assert statistic(values) == pytest.approx(gain)
    assert found_in(values).places == (pytest.approx((cut - 0.5) / 199),)


def test_a_change_stands_between_two_studies() -> None:
    found = found_in(np.repeat([0.0, 1.0, 0.0], [20, 60, 20]))
    assert found.places == pytest.approx((19.5 / 99, 79.5 / 99))
    assert found.means == pytest.approx((0, 1, 0))
    assert (found.p, found.studies) == (1 / 100, 100)


def test_studies_without_a_value_are_passed_over() -> None:
    values = np.repeat([0.0, 1.0], 50)
    values[40:50] = NAN
    found = found_in(values)
    assert found.places == (pytest.approx((39 + 50) / 2 / 99),)
    assert (found.studies, found.means) == (90, (0, 1))


def test_many_changes() -> None:
    found = found_in(stream(0, 1, 0, 1, 0, each=80, noise=0.6))
    assert len(found.places) == 4
    np.testing.assert_allclose(found.places, [0.2, 0.4, 0.6, 0.8], atol=0.02)


def test_too_few_or_equal_values_tell_nothing() -> None:
    few, equal = np.where(np.arange(60) < 39, np.arange(60.0), NAN), np.ones(60)
    found = find({"few": few, "equal": equal}, np.linspace(0, 1, 60), [str(i) for i in range(60)], 99)
    assert found["few"].places == found["equal"].places == ()
    assert np.isnan([found["few"].p, found["equal"].p]).all()
    assert (found["few"].means, found["few"].studies) == ((19,), 39)


def test_too_few_orders_find_nothing() -> None:
    values = np.repeat([0.0, 1.0], 50)
    assert found_in(values, orders=48).places == ()
    assert found_in(values, orders=49).places != ()
    assert found_in(values, orders=19, level=0.05).places != ()


@pytest.mark.parametrize("kind", ["normal", "skewed", "of patients"])
def test_no_change_in_any_of_three_streams_in_95_of_100(kind: str) -> None:
    """40 corpora: 2 are expected, 5 or fewer with 98.6 %. Values of one patient may be alike, and stand together."""
    draw, some = np.random.default_rng(5), 0
    for _ in range(40):
        values = draw.normal(size=(3, 80)) if kind == "normal" else draw.exponential(size=(3, 80)) ** 2
        if kind == "of patients":
            values = np.repeat(draw.normal(size=(3, 20)), 4, axis=1) + draw.normal(0, 0.3, (3, 80))
        patients = [f"p{i // 4 if kind == 'of patients' else i}" for i in range(80)]
        found = find(dict(enumerate(values)), np.linspace(0, 1, 80), patients, 19, level=0.05)
        some += any(one.places for one in found.values())
    assert some <= 5


def test_patients_taken_apart_would_find_changes_in_nothing() -> None:
    draw = np.random.default_rng(6)
    values = np.repeat(draw.normal(size=(30, 20)), 4, axis=1)
    of_patients = [str(i // 4) for i in range(80)]
    apart = [bool(found_in(own, 19, level=0.05).places) for own in values]
    together = [bool(found_in(own, 19, level=0.05, patients=of_patients).places) for own in values]
    assert sum(apart) > 10 > 5 > sum(together)


def test_streams_by_hand() -> None:
    """One finding, truly present twice and absent twice; a is right, wrong, right, wrong, b is right always."""
    truth = np.array([[1], [1], [0], [0]])
    said = np.array([[[1], [1]], [[0], [1]], [[0], [0]], [[1], [NAN]]])
    found = streams(corpus(said, truth=truth))
    assert list(found) == [AGREEMENT, "error a", "error b"]
    np.testing.assert_allclose(found["error a"], [0, 1, 0, 1])
    np.testing.assert_allclose(found["error b"], [0, 0, 0, NAN])
    np.testing.assert_allclose(
        found[AGREEMENT], [2 / 3 + 0.5, 2 / 3 - 0.5, 2 / 3, NAN], err_msg="1 0 1, centred by truth"
    )
    assert list(streams(corpus(said))) == [AGREEMENT], "what each of two states against the other is one number"
    without = streams(corpus(said[:, [0, 1, 1]]))
    assert list(without) == [AGREEMENT, "dissent a", "dissent b", "dissent c"]
    np.testing.assert_allclose(without["dissent a"], [0, 1, 0, NAN])


def test_other_patients_are_not_another_teacher() -> None:
    """A teacher that misses half of what is there and invents nothing; from the middle on, there is much more."""
    draw = np.random.default_rng(7)
    truth = (draw.random((400, 3)) < np.where(np.arange(400) < 200, 0.1, 0.9)[:, None]).astype(float)
    said = np.where(draw.random((400, 3)) < 0.5, truth, 0)[:, None]
    found = changes.changes(corpus(said, truth=truth), orders=99)
    assert found["error a"].places == ()
    assert found_in(np.abs(said[:, 0] - truth).mean(axis=1)).places != ()


def test_the_same_input_gives_the_same_changes() -> None:
    values = stream(0, 0.4)
    assert found_in(values) == found_in(values)
