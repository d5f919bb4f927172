"""Reading the course of findings out of texts, and scoring it, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from apo_lightning.metrics.answers import dict_of, score_progression, text_outcomes
from apo_lightning.metrics.baselines import baseline_outcomes
from apo_lightning.metrics.progression import of_progression
from apo_lightning.metrics.teachers import best_teacher
from apo_lightning.text.progression import CLASSES, read_progression
from apo_lightning.text.votes import majority_course
from apo_lightning.types import Study, Trajectory

FINDINGS = ["consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Edema has worsened.", {"edema": "worsening"}),
        (
            "The pulmonary edema has improved. Pneumothorax is unchanged.",
            {"edema": "improving", "pneumothorax": "stable"},
        ),
        ("No significant change in the right pleural effusion.", {"pleural_effusion": "stable"}),
        ("No worsening of pneumonia.", {"pneumonia": "stable"}),
        (
            "New left consolidation, and the effusion is smaller.",
            {"consolidation": "worsening", "pleural_effusion": "improving"},
        ),
        ("The effusion is stable. On a second look, the effusion is larger.", {"pleural_effusion": "worsening"}),
        ("Heart size has increased.", {}),
        ("There is edema.", {}),
        ("**Edema**: worsening.", {"edema": "worsening"}),
        ("", {}),
        ('{"edema": "worsening", "pneumonia": "stable"}', {"edema": "worsening", "pneumonia": "stable"}),
        ("| Finding | Change |\n|---|---|\n| Edema | Improving |", {"edema": "improving"}),
        ("<think>Edema is worse.</think> Edema is stable.", {"edema": "stable"}),
        ("No new consolidation.", {}),
        ("The effusion is no larger. Edema is not increasing.", {"edema": "stable", "pleural_effusion": "stable"}),
        ("The pneumothorax has not resolved.", {"pneumothorax": "stable"}),
        ("The pneumothorax is no longer seen. Edema is better.", {"edema": "improving", "pneumothorax": "improving"}),
        ("The effusion is more likely chronic and stable.", {"pleural_effusion": "stable"}),
    ],
)
def test_reading(text, said):
    assert read_progression(text, FINDINGS) == said


def test_scores_by_hand():
    """Edema: truth s s s w, said s s w w: 3 of 4 right; recall of stable 2/3, of worsening 1, mean 5/6. Pneumonia:
    truth i, nothing said: 0, and no macro accuracy, as no other class occurs. The mean over the two is 3/8. Effusion
    has no label and no row. One of five labelled courses is not told."""
    truth = ["stable", "stable", "stable", "worsening"]
    labels = [{"edema": value} for value in truth] + [{"pneumonia": "improving"}]
    answers = [{"edema": v} for v in ("stable", "stable", "worsening", "worsening")] + [{"edema": "stable"}]
    rows = {(metric, name): value for metric, name, value in of_progression(labels, answers, FINDINGS).rows()}
    assert rows == pytest.approx(
        {
            ("progression_accuracy", "edema"): 3 / 4,
            ("progression_macro_accuracy", "edema"): 5 / 6,
            ("progression_accuracy", "pneumonia"): 0.0,
            ("progression_macro_accuracy", "pneumonia"): math.nan,
            ("progression_accuracy", "mean"): 3 / 8,
            ("progression_macro_accuracy", "mean"): 5 / 6,
            ("progression_unstated", "mean"): 1 / 5,
        },
        nan_ok=True,
    )


def test_parity_with_sklearn():
    draw = np.random.default_rng(0)
    truth, said = (draw.choice(CLASSES, size=60).tolist() for _ in range(2))
    rows = of_progression([{"edema": t} for t in truth], [{"edema": s} for s in said], FINDINGS).rows()
    assert ("progression_accuracy", "edema", pytest.approx(accuracy_score(truth, said))) in rows
    assert ("progression_macro_accuracy", "edema", pytest.approx(balanced_accuracy_score(truth, said))) in rows


def test_majority_of_courses():
    """Two against one; a tie counts as stable; what nobody tells is not told."""
    said = [
        {"edema": "worsening", "pneumonia": "improving"},
        {"edema": "worsening"},
        {"edema": "stable", "pneumonia": "worsening"},
    ]
    assert majority_course(said, FINDINGS) == {"edema": "worsening", "pneumonia": "stable"}


STUDIES = [
    Study("a", "p", "test", (), {"edema": 1.0}, progression={"edema": "stable"}),
    Study("b", "p", "test", (), {"edema": 1.0}, progression={"edema": "worsening"}),
]


def test_where_courses_are_judged_nothing_else_is_measured():
    """The labels of presence are a reading of the courses: always present, so that they measure nothing."""
    rows = text_outcomes({"a": "Edema is stable.", "b": "Edema is stable."}, STUDIES, FINDINGS).rows()
    assert {metric for metric, *_ in rows} == {
        "progression_accuracy",
        "progression_macro_accuracy",
        "progression_unstated",
    }
    baselines = baseline_outcomes([Trajectory("b", "t", "Edema has worsened.")], STUDIES, ["t"], FINDINGS)
    reached = {name: dict_of(one.rows())["progression_accuracy", "mean"] for name, one in baselines.items()}
    assert reached == {"majority_vote": 0.5, "always_improving": 0, "always_stable": 0.5, "always_worsening": 0.5}


def test_the_best_teacher_tells_courses_best():
    texts = [Trajectory("a", "one", "Edema."), Trajectory("a", "two", "Edema is stable.")]
    assert best_teacher(texts, STUDIES, ["one", "two"], FINDINGS) == "two"


def test_a_study_without_text_is_wrong():
    studies = [Study(n, n, "test", (), {}, progression={"edema": "stable"}) for n in "ab"]
    rows = score_progression({"a": "Edema is stable."}, studies, FINDINGS).rows()
    assert ("progression_accuracy", "mean", 0.5) in rows


@pytest.mark.parametrize(
    ("labels", "answers", "reason"),
    [([{}], [], "got 1 and 0"), ([{"edema": "better"}], [{}], "got 'better'")],
)
def test_wrong_input(labels, answers, reason):
    with pytest.raises(ValueError, match=reason):
        of_progression(labels, answers, FINDINGS)


@pytest.mark.parametrize(
    ("text", "effusion", "edema"),
    [
        ("The left effusion has increased, edema is unchanged.", "worsening", "stable"),
        ("Stable effusion, increased edema.", "stable", "worsening"),
        ("The effusion has decreased while edema is stable.", "improving", "stable"),
        ("Effusion, which has increased, and edema, unchanged.", "worsening", "stable"),
        ("Effusion, edema and atelectasis have improved.", "improving", "improving"),
        ("Increased effusion and edema; atelectasis is stable.", "worsening", "worsening"),
    ],
)
def test_a_word_of_change_stays_in_its_clause(text: str, effusion: str, edema: str) -> None:
    said = read_progression(text, ["pleural_effusion", "edema"])
    assert said == {"pleural_effusion": effusion, "edema": edema}
