"""Rates of each teacher by hand, and its slope over the place in the text against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from apo_lightning.drift.profiles import profiles
from apo_lightning.drift.strata import centred, errors, strata
from apo_lightning.drift.within import step_drift
from tests.helpers.corpora import corpus

NAN = np.nan


def test_rates_by_hand() -> None:
    """Teacher a, one finding, five studies: true 1 1 0 0 unknown; said 1, nothing, 1, 0, 1."""
    said = np.array([[1, 1], [NAN, 1], [1, 0], [0, 0], [1, 0]])[..., None]
    hedged = np.array([[1, 0], [0, 0], [0, 0], [0, 0], [1, 0]])[..., None]
    refused = np.array([[0, 0], [1, 0], [0, 0], [0, 0], [0, 0]])
    lengths = np.array([[2, 1], [7, 1], [1, 1], [4, 1], [1, 1]])
    truth = [[1], [1], [0], [0], [NAN]]
    found = profiles(corpus(said, hedged=hedged, refused=refused, lengths=lengths, truth=truth), resamples=20)["a"]
    values = {name: one.value for (name, finding), one in found.items() if finding == "mean"}
    assert values == pytest.approx(
        {
            "refused": 1 / 5,
            "nothing": 0,
            "normal": 0,
            "missing": 0,
            "words": 3,
            "stated": 4 / 5,
            "hedged": 2 / 3,
            "similarity": 2 / 4,
            "precision": 1 / 2,
            "recall": 1 / 2,
            "error": 1 / 3,
            "missed": 0,
            "invented": 1 / 2,
        }
    )


def test_sides_by_hand() -> None:
    """Truly left, left, bilateral, right, absent; said left, right, left, without a side, left."""
    sides = np.array([1, 2, 1, 0, 1]).reshape(5, 1, 1)
    truth, true_sides = np.array([[1], [1], [1], [1], [0]]), np.array([[1], [1], [3], [2], [0]])
    found = profiles(corpus(np.ones((5, 1, 1)), sides=sides, truth=truth, true_sides=true_sides), resamples=20)["a"]
    assert found["wrong_side", "f0"].value == pytest.approx(2 / 3)
    assert np.isnan(found["similarity", "mean"].value), "nobody to be like"


def test_without_truth_there_is_no_error() -> None:
    found = profiles(corpus(np.ones((3, 2, 1))), resamples=20)["a"]
    assert {name for name, _ in found} == {
        *("refused", "nothing", "normal", "missing", "words", "stated", "hedged", "similarity")
    }
    with pytest.raises(ValueError, match="need a truth"):
        errors(corpus(np.ones((3, 2, 1))))


def test_kinds_of_statements() -> None:
    truth = np.array([[1, 1], [1, 0], [1, NAN], [0, 0]])
    grades = np.array([[1, 0], [2, 3], [1, 0], [3, 0]])
    found = strata(corpus(np.ones((4, 1, 2)), truth=truth, true_severities=grades))
    assert found[0, 0] == found[2, 0] != found[1, 0], "by severity"
    assert found[1, 1] == found[3, 1], "of what is absent none"
    assert len(np.unique(found)) == 3 + 3
    values = np.array([[1.0, 2.0], [3.0, 0.0], [5.0, 1.0], [NAN, 4.0]])
    np.testing.assert_allclose(centred(values, found), [[-2, 0], [0, -2], [2, 0], [NAN, 2]])


def steps_of(order: np.ndarray) -> np.ndarray:
    """``[N, F]`` places in a text that speaks in ``order`` ``[N, F]``."""
    return np.argsort(order, axis=1) / (order.shape[1] - 1)


def test_slopes_are_those_of_one_linear_model() -> None:
    draw = np.random.default_rng(0)
    size = (80, 3, 4)
    steps = np.broadcast_to(steps_of(np.stack([draw.permutation(4) for _ in range(3)])), size)
    truth = draw.integers(2, size=(80, 4)).astype(float)
    wrong = draw.random(size) < 0.2 + 0.3 * steps * np.array([0, 0.5, 1])[:, None]
    found = corpus(np.where(wrong, 1 - truth[:, None], truth[:, None]), truth=truth, steps=steps)
    kinds = np.broadcast_to(strata(found)[:, None], size).ravel()
    who = np.broadcast_to(np.arange(3)[:, None], size).ravel()
    columns = [kinds == k for k in np.unique(kinds)] + [who == n for n in (1, 2)]
    columns += [(who == n) * steps.ravel() for n in range(3)]
    want = sm.OLS(wrong.ravel().astype(float), np.stack(columns, axis=1).astype(float)).fit().params[-3:]
    slopes = step_drift(found, resamples=50, robust=False)
    np.testing.assert_allclose([one.value for one in slopes.values()], want, atol=1e-9)
    assert all(one.low < one.value < one.high for one in slopes.values())
    assert step_drift(found, resamples=50, robust=False) == slopes
    robust = [one.value for one in step_drift(found, resamples=50).values()]
    np.testing.assert_allclose(robust, want, atol=0.15, err_msg="where no blind spot is")
    assert step_drift(found, resamples=50) == step_drift(found, resamples=50)


def test_a_blind_spot_is_no_slope() -> None:
    """Seven teachers of seven findings, each in its own order, without a slope; the first misses what it says last."""
    draw = np.random.default_rng(3)
    size = (400, 7, 7)
    order = np.stack([draw.permutation(7) for _ in range(7)])
    truth = draw.integers(2, size=(400, 7)).astype(float)
    rates = np.full(size, 0.2)
    rates[:, 0, order[0, -1]] = np.where(truth[:, order[0, -1]] == 1, 0.8, 0.2)
    wrong = draw.random(size) < rates
    said, steps = np.where(wrong, 1 - truth[:, None], truth[:, None]), np.broadcast_to(steps_of(order), size)
    found = corpus(said, truth=truth, steps=steps)
    assert step_drift(found, resamples=20, robust=False)["a"].value > 0.15
    assert abs(step_drift(found, resamples=20)["a"].value) < 0.08


def test_a_slope_by_hand() -> None:
    """Of two findings that both speak of in turn, a errs once on four that it says last and never on what it says
    first; b never errs. Both findings are as hard: a loses 1/4."""
    steps = np.broadcast_to(np.array([[0.0, 1.0], [1.0, 0.0]])[None], (8, 2, 2)).copy()
    steps[4:] = steps[4:, ::-1]
    said = np.ones((8, 2, 2))
    said[0, 0, 1] = said[4, 0, 0] = 0
    found = step_drift(corpus(said, truth=np.ones((8, 2)), steps=steps), resamples=20, robust=False)
    assert found["a"].value == pytest.approx(1 / 4)
    assert found["b"].value == pytest.approx(0)


def test_what_is_said_last_by_all_may_be_hard() -> None:
    draw = np.random.default_rng(1)
    said = draw.integers(2, size=(30, 2, 3)).astype(float)
    steps = np.broadcast_to([0, 0.5, 1], said.shape)
    found = step_drift(corpus(said, truth=np.ones((30, 3)), steps=steps), resamples=20)
    assert all(np.isnan(one.value) and np.isnan(one.low) for one in found.values())


def test_one_sentence_has_no_slope_and_takes_none_from_others() -> None:
    draw = np.random.default_rng(2)
    said = draw.integers(2, size=(30, 3, 3)).astype(float)
    steps = np.array(np.broadcast_to([[0, 0.5, 1], [1, 0, 0.5], [0.5, 0.5, 0.5]], said.shape))
    said[:, 2, 1:] = NAN
    found = step_drift(corpus(said, truth=np.ones((30, 3)), steps=steps), resamples=20)
    assert np.isnan(found["c"].value)
    assert not np.isnan([found["a"].value, found["b"].value]).any()
