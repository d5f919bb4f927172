"""Intervals against a loop in plain Python: studies written out one by one, percentiles and deviations by hand."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import t

from apo_lightning.metrics.bootstrap import Resampled, limits
from apo_lightning.metrics.findings import of_findings

NORMAL = 1.959963984540054


def accuracy_of(rows: list[tuple[list[float], list[float]]]) -> float:
    """Mean over the findings that have a label of the share of right answers; rows are (labels, answers)."""
    shares = []
    for f in range(len(rows[0][0])):
        right = [labels[f] == answers[f] for labels, answers in rows if labels[f] == labels[f]]
        if right:
            shares.append(sum(right) / len(right))
    return sum(shares) / len(shares)


def percentile(values: list[float], share: float) -> float:
    """Between the two nearest of the sorted values, as numpy does."""
    ordered, place = sorted(values), share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def spread(values: list[float], less: int) -> float:
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / (len(values) - less)


def by_hand(whole: list[float], drawn: list[list[float]], patients: int, least: float) -> tuple[float, float]:
    """``drawn`` one list a seed; no value is undefined, all are shares or differences of shares."""
    seeds, value = len(whole), sum(whole) / len(whole)
    means = [sum(each) / seeds for each in zip(*drawn, strict=True)]
    of_patients = spread(means, 0) * patients / (patients - 1)
    of_seeds = spread(whole, 1) / seeds if seeds > 1 else 0.0
    lost = of_patients**2 / (patients - 1) + (of_seeds**2 / (seeds - 1) if seeds > 1 else 0.0)
    student = t.ppf(0.975, (of_patients + of_seeds) ** 2 / lost)
    times = student / NORMAL * sqrt((of_patients + of_seeds) / spread(means, 0))
    ends = [value + times * (percentile(means, share) - value) for share in (0.025, 0.975)]
    return max(ends[0], least), min(ends[1], 1)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_intervals_and_differences_are_those_of_a_loop(seeds: int) -> None:
    draw = np.random.default_rng(seeds)
    labels = draw.choice([0, 1, np.nan], p=[0.4, 0.4, 0.2], size=(24, 2))
    patients = [f"p{i % 9}" for i in range(24)]
    answers = {name: draw.integers(2, size=(seeds, 24, 2)).astype(float) for name in "ab"}
    table = Resampled(
        {
            name: {s: of_findings(labels, each[s], np.zeros(24, bool), "xy", patients) for s in range(seeds)}
            for name, each in answers.items()
        },
        resamples=120,
    )
    whole: dict[str, list[float]] = {}
    drawn: dict[str, list[list[float]]] = {}
    for name, each in answers.items():
        for s in range(seeds):
            rows = list(zip(labels.tolist(), each[s].tolist(), strict=True))
            whole.setdefault(name, []).append(accuracy_of(rows))
            drawn.setdefault(name, []).append(
                [
                    accuracy_of([rows[i] for i, who in enumerate(patients) for _ in range(int(row[table.place[who]]))])
                    for row in table.times
                ]
            )
    for name in "ab":
        found = table.intervals(name)["accuracy", "mean"]
        assert found.value == pytest.approx(sum(whole[name]) / seeds)
        assert (found.low, found.high) == pytest.approx(by_hand(whole[name], drawn[name], 9, 0))
    apart = table.differences("b", "a")["accuracy", "mean"]
    values = [b - a for a, b in zip(whole["a"], whole["b"], strict=True)]
    resampled = [[b - a for a, b in zip(*each, strict=True)] for each in zip(drawn["a"], drawn["b"], strict=True)]
    assert (apart.low, apart.high) == pytest.approx(by_hand(values, resampled, 9, -1))


def test_limits_by_hand_where_patients_do_not_differ() -> None:
    """Two seeds, .5 and .52, the same in every resample: .51 +- 12.706 * .01. Of four seeds the deviation of the mean
    is .1 / sqrt(12), Student's t of three degrees 3.182."""
    two = limits(np.array([0.5, 0.52]), np.repeat(np.array([[0.5], [0.52]]), 9, axis=1), 5)
    assert two == pytest.approx((0.51 - 0.12706, 0.51 + 0.12706), abs=1e-4)
    drawn = np.repeat(np.array([[0.8], [0.3], [0.2], [0.9]]), 9, axis=1)  # the mean is .55 in each
    reach = 3.182 * 0.1 / sqrt(12)
    assert limits(np.array([0.5, 0.6, 0.5, 0.6]), drawn, 5) == pytest.approx((0.55 - reach, 0.55 + reach), abs=1e-4)


@pytest.mark.parametrize(
    ("shift", "least", "ends"), [(0, 0, (0, 1)), (-0.5, -1, (-1, 1)), (-40, 0, None), (40, 0, None)]
)
def test_shares_stay_shares_and_nats_have_no_ends(shift: float, least: float, ends: tuple[float, float] | None) -> None:
    """Two seeds of .4 and .6 reach 12.706 * .1 to either side."""
    whole = np.array([0.4, 0.6]) + shift
    found = limits(whole, np.repeat(whole[:, None], 9, axis=1), 5, least)
    assert found == pytest.approx(ends or (0.5 + shift - 1.2706, 0.5 + shift + 1.2706), abs=1e-3)


def test_limits_of_nothing() -> None:
    nan = np.full((1, 4), np.nan)
    for whole, drawn, patients in (
        (np.array([np.nan]), nan, 3),
        (np.array([0.5]), nan, 3),
        (np.array([0.5]), np.full((1, 4), 0.5), 1),
        (np.array([0.5, 0.5]), np.full((2, 4), 0.5), 3),
    ):
        assert np.isnan(limits(whole, drawn, patients)).all()


def test_seeds_that_lie_apart_widen_the_interval_and_equal_ones_do_not() -> None:
    """.02^2 of the patients and .03^2 / 3 of the seeds are 1.75 times as much: 1.32 times as wide, and the t of 10.3
    degrees, 2.22, for that of 59, 2.00."""
    drawn = np.random.default_rng(0).normal(0.7, 0.02, size=(1, 500))
    one = limits(np.array([0.7]), drawn, 60)
    assert limits(np.array([0.7, 0.7]), np.repeat(drawn, 2, axis=0), 60) == one
    apart = limits(np.array([0.67, 0.73, 0.7]), np.concatenate([drawn - 0.03, drawn + 0.03, drawn]), 60)
    assert apart[1] - apart[0] == pytest.approx(1.32 * 2.22 / 2.0 * (one[1] - one[0]), rel=0.02)


def test_a_difference_may_be_below_nothing_where_no_resample_is() -> None:
    """b is ahead by .1 in one seed and alike in the other: the seeds' deviation of .05 is most of all there is, and
    less than 0 is well within reach, though nothing drawn is."""
    rows = [
        of_findings(np.ones((20, 1)), answers[:, None], np.zeros(20, bool), ["x"])
        for answers in (np.repeat([1.0, 0.0], [10, 10]), np.repeat([1.0, 0.0], [12, 8]))
    ]
    table = Resampled({"a": {0: rows[0], 1: rows[0]}, "b": {0: rows[0], 1: rows[1]}})
    found = table.differences("b", "a")["accuracy", "mean"]
    assert found.value == pytest.approx(0.05) and -0.25 < found.low < -0.05
