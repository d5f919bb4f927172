"""The row of who never looks at an image."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from apo_lightning.metrics.baselines import prevalence_outcomes, prevalence_score_outcomes
from apo_lightning.metrics.prevalence import most_frequent, most_frequent_courses, prevalence_scores
from apo_lightning.types import Study

NAN = np.nan
LABELS = np.array([[1, 1, 0, NAN], [1, 0, 0, NAN], [0, NAN, 0, NAN]], float)
"""Prevalence 2/3, 1/2 of two labels, 0, and nothing known."""


def test_by_hand() -> None:
    assert prevalence_scores(LABELS) == pytest.approx([2 / 3, 1 / 2, 0, NAN], nan_ok=True)
    assert most_frequent(LABELS) == pytest.approx([1, 0, 0, NAN], nan_ok=True)
    assert np.isnan(most_frequent(np.zeros((0, 2)))).all()


def test_it_is_sklearns_dummy() -> None:
    labels = np.random.default_rng(0).integers(2, size=31)  # an odd number has no tie
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((31, 1)), labels)
    assert most_frequent(labels[:, None].astype(float))[0] == dummy.predict([[0]])[0]
    assert prevalence_scores(labels[:, None].astype(float))[0] == dummy.predict_proba([[0]])[0, 1]


def test_courses_by_hand() -> None:
    """Edema: worsening twice; mass: a tie with stable is stable; effusion: one without is the first of the classes."""
    train = [
        {"edema": "worsening", "mass": "improving", "pleural_effusion": "worsening"},
        {"edema": "worsening", "mass": "stable", "pleural_effusion": "improving"},
        {"edema": "stable"},
        {},
    ]
    found = most_frequent_courses(train, ["edema", "mass", "pleural_effusion", "pneumonia"])
    assert found == {"edema": "worsening", "mass": "stable", "pleural_effusion": "improving"}


def study(name: str, course: str | None, **findings: float) -> Study:
    return Study(name, name, "test", (), findings, progression={"edema": course} if course else {})


def test_courses_are_answered_where_the_training_split_has_them() -> None:
    tested = [study("a", "stable"), study("b", "worsening"), study("c", "worsening"), study("d", None)]
    found = prevalence_outcomes([study("t", "worsening")], tested, ["edema"])
    assert found is not None and ("progression_accuracy", "mean", pytest.approx(2 / 3)) in found.rows()
    assert prevalence_outcomes([study("t", None, edema=1.0)], tested, ["edema"]) is None


def test_no_training_studies_have_no_answer() -> None:
    assert prevalence_outcomes([], [study("a", None, edema=1.0)], ["edema"]) is None


def test_a_half_answers_absent_in_both_readings() -> None:
    train = [Study(str(i), str(i), "", (), {"edema": float(i % 2)}) for i in range(4)]
    text = prevalence_outcomes(train, train, ("edema",))
    scored = prevalence_score_outcomes(train, train, ("edema",))
    assert text is not None
    assert text.whole()["accuracy", "edema"] == scored.whole()["likelihood_accuracy", "edema"] == 0.5
    three = train[1:]  # two of three are present
    assert prevalence_score_outcomes(train, three, ("edema",)).whole()["likelihood_accuracy", "edema"] == 1 / 3
