"""Severity, doubt and course of findings: whose they are in a sentence."""

from __future__ import annotations

import pytest

from apo_lightning.text.labeler import sentences

FINDINGS = ("cardiomegaly", "edema", "pleural_effusion", "pneumonia", "atelectasis", "lung_opacity", "pneumothorax")


def said(text: str) -> tuple[dict[str, str], frozenset[str], dict[str, str]]:
    (sentence,) = sentences(text, FINDINGS)
    return sentence.severities, sentence.hedged, sentence.compared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mild edema.", {"edema": "mild"}),
        ("Small left effusion and severe edema.", {"pleural_effusion": "mild", "edema": "severe"}),
        ("Effusion and moderate edema.", {"edema": "moderate"}),
        ("Left pleural effusion, moderate.", {"pleural_effusion": "moderate"}),
        ("Edema: mild.", {"edema": "mild"}),
        ("The heart is mildly enlarged.", {"cardiomegaly": "mild"}),
        ("Heart size is markedly enlarged.", {"cardiomegaly": "severe"}),
        ("Mild to moderate edema.", {"edema": "moderate"}),
        ("Moderate-to-severe edema.", {"edema": "severe"}),
        ("The effusion is small.", {"pleural_effusion": "mild"}),
        ("No large effusion.", {}),
        ("Effusion with mild pain.", {}),
    ],
)
def test_a_severity_belongs_to_the_finding_it_describes(text: str, expected: dict[str, str]) -> None:
    assert said(text)[0] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Possible edema.", {"edema"}),
        ("Possible edema, effusion is present.", {"edema"}),
        ("Opacity suspicious for pneumonia.", {"pneumonia"}),
        ("Opacity may represent atelectasis or pneumonia.", {"atelectasis", "pneumonia"}),
        ("Pneumonia cannot be excluded.", {"pneumonia"}),
        ("Cannot exclude a small pneumothorax.", {"pneumothorax"}),
        ("Effusion is present and pneumonia is possible.", {"pneumonia"}),
        ("Pneumonia is suspected and effusion is present.", {"pneumonia"}),
        ("Atelectasis versus pneumonia.", {"atelectasis", "pneumonia"}),
        ("Borderline heart size.", {"cardiomegaly"}),
        ("Edema: possible.", {"edema"}),
        ("This may represent edema, a cyst, or pneumonia.", {"edema", "pneumonia"}),
        ("Opacity may reflect atelectasis and/or early pneumonia.", {"atelectasis", "pneumonia"}),
        ("Differential diagnosis includes infection, aspiration, and edema.", {"edema"}),
        ("Opacity, favoring atelectasis.", {"atelectasis"}),
        ("Opacity, which in the appropriate clinical setting is pneumonia.", {"pneumonia"}),
        ("Edema, less likely pneumonia.", {"pneumonia"}),
        ("Pneumonia would be a consideration.", {"pneumonia"}),
        ("Possible small effusion with atelectasis.", {"pleural_effusion"}),
        ("Pneumonia is unlikely.", set()),
        ("Edema and effusion.", set()),
    ],
)
def test_a_hedge_reaches_the_findings_it_leaves_open(text: str, expected: set[str]) -> None:
    assert said(text)[1] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The left effusion has increased, edema is unchanged.", {"pleural_effusion": "worsening", "edema": "stable"}),
        ("The effusion has resolved.", {"pleural_effusion": "improving"}),
        ("The heart is enlarged.", {}),
        ("Edema.", {}),
    ],
)
def test_a_course_is_that_of_the_nearest_finding(text: str, expected: dict[str, str]) -> None:
    assert said(text)[2] == expected
