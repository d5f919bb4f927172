"""How good some of the teachers are together, on hand-worked cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apo_lightning.metrics.baselines import baseline_outcomes
from apo_lightning.metrics.subsets import Stated
from apo_lightning.text.labeler import read
from apo_lightning.types import Study, Trajectory

NAN = math.nan
ALL = np.ones(3, bool)


def stated() -> Stated:
    """Two studies of a patient each, three teachers, two findings."""
    said = [[[1, 0], [1, 1], [0, NAN]], [[0, 0], [1, NAN], [NAN, NAN]]]
    return Stated(np.array(said, float), np.array([[1, 0], [0, NAN]], float), ["p", "q"])


def test_all_three_measures_of_all_teachers() -> None:
    """Votes 2:1, 1:1 (a tie: absent), 1:1, -: right, right, right. Likelihood of the label: 3/5, 2/4, 2/4; the mean of
    finding 1 over two studies, of finding 2 over one. Pairs: 1 of 3, 0 of 1, 0 of 1."""
    found = stated().of(ALL)
    likely = ((math.log(3 / 5) + math.log(1 / 2)) / 2 + math.log(1 / 2)) / 2
    assert found == pytest.approx({"vote": 1.0, "likelihood": likely, "agreement": 1 / 5})


def test_of_some_of_them() -> None:
    """b alone: right, wrong, wrong: (1/2 + 0) / 2. Nobody agrees with anybody."""
    found = stated().of(np.array([0, 1, 0]))
    assert found["vote"] == 0.25 and math.isnan(found["agreement"])
    assert stated().vote(np.array([0, 1, 0])) == 0.25


def test_what_nobody_states_counts_as_absent() -> None:
    own = Stated(np.full((2, 1, 1), NAN), np.array([[1.0], [0.0]]), ["p", "q"])
    assert own.vote(np.array([True])) == 0.5
    assert own.of(np.array([True]))["likelihood"] == pytest.approx(math.log(1 / 2))


def test_it_is_the_vote_of_the_table() -> None:
    studies = [
        Study(f"s{i}", f"p{i}", "val", (), {"edema": i % 2, "pneumonia": NAN if i == 3 else 1}) for i in range(6)
    ]
    words = ["Edema. Pneumonia.", "No edema.", "No edema. No pneumonia.", "I cannot interpret medical images."]
    texts = [Trajectory(s.id, n, words[(i + k) % 4]) for i, s in enumerate(studies) for k, n in enumerate("abc")]
    outcomes = baseline_outcomes(texts, studies, "abc", ["edema", "pneumonia"])["majority_vote"]
    said = np.stack([read([t.text for t in texts if t.teacher == n], ["edema", "pneumonia"])[0] for n in "abc"], 1)
    truth = np.array([[s.findings["edema"], s.findings["pneumonia"]] for s in studies], float)
    known = {row[:2]: row[2] for row in outcomes.rows()}
    assert Stated(said, truth, [s.patient for s in studies]).vote(ALL) == pytest.approx(known["accuracy", "mean"])


def test_differences_are_of_the_same_draws_and_by_patient() -> None:
    """With itself 0 and no interval; a teacher who is always right against one who is right on half of the studies."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (200, 1)).astype(float)
    guess = np.where(rng.random((200, 1)) < 0.5, truth, 1 - truth)
    own = Stated(np.stack([truth, guess], 1), truth, [str(i // 2) for i in range(200)])
    same = own.differences(np.array([1, 0]), np.array([1, 0]))["vote"]
    assert same.value == 0 and math.isnan(same.low)
    found = own.differences(np.array([1, 0]), np.array([0, 1]))["vote"]
    right = float((guess == truth).mean())
    assert found.value == pytest.approx(1 - right) and found.low < 1 - right < found.high
    assert 0.1 < found.high - found.low < 0.2  # 1.96 * 2 * sqrt(.25 / 200) = .14
    assert own.differences(np.array([1, 0]), np.array([0, 1]))["vote"] == found


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"got \[2, 3, 2\] and \[2, 1\]"):
        Stated(np.zeros((2, 3, 2)), np.zeros((2, 1)), ["p", "q"])
