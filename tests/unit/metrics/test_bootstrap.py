"""Intervals over patients and seeds: by hand, against a loop and scipy, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from apo_lightning.metrics.bootstrap import Resampled, bounds, draws
from apo_lightning.metrics.findings import FindingOutcomes, of_findings
from apo_lightning.metrics.likelihood import of_likelihoods

ACCURACY = ("accuracy", "mean")


def right(values, patients=None) -> FindingOutcomes:
    """One finding, always present; ``values`` say whether the answer is right."""
    labels, answers = np.ones((len(values), 1)), np.array(values, float)[:, None]
    return of_findings(labels, answers, np.zeros(len(values), bool), ["edema"], patients)


def width(interval) -> float:
    return interval.high - interval.low


def test_draws_are_as_many_as_there_are_units():
    times = draws(7, 50, np.random.default_rng(0))
    assert times.shape == (50, 7) and (times.sum(axis=1) == 7).all() and times.std() > 0


def test_bounds_by_hand():
    """Of 0, 1, ..., 1000 the percentiles 2.5 and 97.5 are 25 and 975, NaN aside; equal values bound nothing."""
    assert bounds(np.array([*range(1001), np.nan])) == pytest.approx((25, 975))
    assert np.isnan(bounds(np.full(10, 0.5))).all() and np.isnan(bounds(np.array([np.nan]))).all()


def test_equal_seeds_carry_the_uncertainty_of_the_studies():
    """23 of 32 right in both seeds. Of independent studies the deviation is sqrt(.719 * .281 / 31) = .0807; Student's t
    of 31 degrees is 2.04."""
    one = right([1] * 23 + [0] * 9)
    table = Resampled({"both": {0: one, 1: one}, "single": {0: one}}, resamples=3000)
    both, single = (table.intervals(key)[ACCURACY] for key in ("both", "single"))
    assert both.value == single.value == 23 / 32
    assert width(both) == pytest.approx(2 * 2.04 * 0.0807, rel=0.06)
    assert (both.low, both.high) == (single.low, single.high)
    assert (both.seeds, both.studies, both.patients, single.seeds) == (2, 32, 32, 1)


def test_seeds_count_too():
    """Everything right in one seed, nothing in the other: nothing is known, and no share lies outside [0, 1]."""
    table = Resampled({"arm": {0: right([1] * 4), 5: right([0] * 4)}})
    found = table.intervals("arm")[ACCURACY]
    assert (found.value, found.low, found.high) == (0.5, 0, 1)


def test_studies_of_a_patient_are_drawn_together():
    """Ten patients with ten equal answers each are ten observations, not a hundred."""
    values = np.repeat([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], 10)
    apart = Resampled({"x": {0: right(values)}}).intervals("x")[ACCURACY]
    together = Resampled({"x": {0: right(values, [str(i // 10) for i in range(100)])}}).intervals("x")[ACCURACY]
    assert (together.patients, apart.patients) == (10, 100)
    few = np.sqrt(10 / 9) * 2.262 / 1.984  # Student's t of 9 and of 99 degrees
    assert width(together) == pytest.approx(width(apart) * np.sqrt(10) * few, rel=0.15)


def test_every_resample_is_what_sklearn_says_of_the_drawn_studies():
    draw = np.random.default_rng(3)
    labels, answers = draw.integers(2, size=(2, 40, 2)).astype(float)
    patients = [f"p{i % 13}" for i in range(40)]
    table = Resampled({"x": {0: of_findings(labels, answers, np.zeros(40, bool), "ab", patients)}}, resamples=20)
    for r in range(20):
        drawn = np.repeat(np.arange(40), [int(table.times[r, table.place[who]]) for who in patients])
        y, p = labels[drawn], answers[drawn]
        assert table.drawn["x"][0]["positive_f1", "mean"][r] == pytest.approx(f1_score(y, p, average="macro"))
        recall = np.mean([balanced_accuracy_score(y[:, f], p[:, f]) for f in range(2)])
        assert table.drawn["x"][0]["balanced_accuracy", "mean"][r] == pytest.approx(recall)


def test_parity_with_scipy_where_every_study_is_a_patient():
    values = np.random.default_rng(4).integers(2, size=200)
    ours = Resampled({"x": {0: right(values)}}, resamples=3000).intervals("x")[ACCURACY]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=3000, method="percentile", rng=5).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.01)


def test_a_difference_is_paired_by_study():
    """The better arm is right on the same 60 studies and on 10 more: both swing, their difference hardly."""
    worse, better = right([1] * 60 + [0] * 40), right([1] * 70 + [0] * 30)
    table = Resampled({"a": {0: worse}, "b": {0: better}}, resamples=3000)
    found = table.differences("b", "a")[ACCURACY]
    assert found.value == pytest.approx(0.1) and found.low > 0
    assert width(found) == pytest.approx(2 * 1.96 * np.sqrt(0.1 * 0.9 / 100), rel=0.08)
    back = table.differences("a", "b")[ACCURACY]
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert width(table.intervals("a")[ACCURACY]) > 1.4 * width(found)


def test_a_difference_is_paired_by_seed():
    """A hard and an easy seed; b beats a by the same three studies in both. A seed that only one has is left out."""
    hard, easy = [1] * 10 + [0] * 30, [1] * 30 + [0] * 10
    ahead = [[1] * 3 + [0] * 37, [0] * 37 + [1] * 3]
    a = {0: right(hard), 1: right(easy), 2: right([0] * 40)}
    b = {0: right(np.clip(hard + np.array(ahead[1]), 0, 1)), 1: right(np.clip(easy + np.array(ahead[1]), 0, 1))}
    found = Resampled({"a": a, "b": b}).differences("b", "a")[ACCURACY]
    assert (found.value, found.seeds) == (pytest.approx(3 / 40), 2)
    assert width(found) < 0.2
    assert Resampled({"a": {0: right(hard)}, "b": {1: right(easy)}}).differences("b", "a") == {}


def test_a_resample_without_one_of_the_classes_does_not_count():
    """One positive in six: balanced accuracy is .5 in every resample that holds it and one negative."""
    labels = np.array([[1.0], [0], [0], [0], [0], [0]])
    one = of_findings(labels, np.zeros((6, 1)), np.zeros(6, bool), ["edema"])
    table = Resampled({"x": {0: one}})
    drawn = table.drawn["x"][0]["balanced_accuracy", "edema"]
    assert 0.2 < np.isnan(drawn).mean() < 0.5 and set(drawn[~np.isnan(drawn)]) == {0.5}


def test_the_same_input_gives_the_same_interval():
    values = np.random.default_rng(1).integers(2, size=50)
    first, again = (Resampled({"x": {3: right(values)}}).intervals("x") for _ in range(2))
    assert str(first) == str(again) and not np.isnan(first[ACCURACY].low)


def test_no_studies_bound_nothing():
    found = Resampled({"x": {0: right([])}}).intervals("x")[ACCURACY]
    assert np.isnan([found.value, found.low, found.high]).all() and found.studies == 0


def test_nineteen_of_twenty_intervals_hold_the_truth():
    """Made-up tables of 60 patients, 1 to 5 studies each that tend to be right together, true accuracy .7. The binomial
    deviation of a share of 150 is 1.8 %; studies drawn one by one would hold it too seldom."""
    draw, held, naive = np.random.default_rng(0), 0, 0
    for _ in range(150):
        sizes = draw.integers(1, 6, size=60)
        ease = draw.beta(1.4, 0.6, size=60)
        values = np.concatenate([draw.random(n) < p for n, p in zip(sizes, ease, strict=True)])
        who = np.repeat(np.arange(60).astype(str), sizes)
        for patients in (who, None):
            found = Resampled({"x": {0: right(values, patients)}}, resamples=300).intervals("x")[ACCURACY]
            inside = found.low <= 0.7 <= found.high
            held, naive = (held + inside, naive) if patients is not None else (held, naive + inside)
    assert 0.90 <= held / 150 <= 0.98
    assert naive / 150 < held / 150 - 0.03


def test_likelihoods_by_hand():
    """t+: -2 and -4, mean -3. Teachers: -1, -3 and -5, mean over texts -3; before: each 1 lower, t+ the same."""
    rows = [
        {"patient": "a", "preferred": -2, "teachers": [-1, -3], "preferred_before": -2, "teachers_before": [-2, -4]},
        {"patient": "b", "preferred": -4, "teachers": [-5], "preferred_before": -4, "teachers_before": [-6]},
    ]
    assert sorted(of_likelihoods(rows).rows()) == [
        ("logp_preferred", "mean", -3),
        ("logp_preferred_before", "mean", -3),
        ("logp_teachers", "mean", -3),
        ("logp_teachers_before", "mean", -4),
    ]
