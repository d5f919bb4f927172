"""Reading the course of findings out of texts, and scoring it, by hand."""

from __future__ import annotations

import pytest

from apo_lightning.evaluation import score_progression
from apo_lightning.metrics.progression import progression_scores, read_progression
from apo_lightning.types import Study

FINDINGS = ["consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Edema has worsened.", {"edema": "worsening"}),
        ("The pulmonary edema has improved. Pneumothorax is unchanged.",
         {"edema": "improving", "pneumothorax": "stable"}),
        ("No significant change in the right pleural effusion.", {"pleural_effusion": "stable"}),
        ("No worsening of pneumonia.", {"pneumonia": "stable"}),
        ("New left consolidation, and the effusion is smaller.",
         {"consolidation": "worsening", "pleural_effusion": "improving"}),
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
)  # fmt: skip
def test_reading(text, said):
    assert read_progression(text, FINDINGS) == said


def test_scores_by_hand():
    """Edema: truth s s s w, said s s w w: 3 of 4 right; recall of stable 2/3, of worsening 1, mean 5/6. Pneumonia:
    truth i, nothing said: 0. Means over the two: 3/8 and 5/12. Effusion has no label and no row."""
    truth = ["stable", "stable", "stable", "worsening"]
    labels = [{"edema": value} for value in truth] + [{"pneumonia": "improving"}]
    answers = [{"edema": v} for v in ("stable", "stable", "worsening", "worsening")] + [{"edema": "stable"}]
    rows = {(metric, name): value for metric, name, value in progression_scores(labels, answers, FINDINGS)}
    assert rows == pytest.approx({
        ("progression_accuracy", "edema"): 3 / 4, ("progression_macro_accuracy", "edema"): 5 / 6,
        ("progression_accuracy", "pneumonia"): 0.0, ("progression_macro_accuracy", "pneumonia"): 0.0,
        ("progression_accuracy", "mean"): 3 / 8, ("progression_macro_accuracy", "mean"): 5 / 12,
    })  # fmt: skip


def test_no_labels_no_rows():
    assert score_progression({"a": "Edema has worsened."}, [Study("a", "p", "test", (), {})], FINDINGS) == []


def test_a_study_without_text_is_wrong():
    studies = [Study(n, n, "test", (), {}, progression={"edema": "stable"}) for n in "ab"]
    rows = score_progression({"a": "Edema is stable."}, studies, FINDINGS)
    assert ("progression_accuracy", "mean", 0.5) in rows


@pytest.mark.parametrize(
    ("labels", "answers", "reason"),
    [([{}], [], "got 1 and 0"), ([{"edema": "better"}], [{}], "got 'better'")],
)
def test_wrong_input(labels, answers, reason):
    with pytest.raises(ValueError, match=reason):
        progression_scores(labels, answers, FINDINGS)
