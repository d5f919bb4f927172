"""Severity, doubt and course of findings: whose they are in a sentence."""

from __future__ import annotations

import pytest

from apo_lightning.text.labeler import sentences, sides

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Small calcified granuloma in the left base.", {"granuloma": "mild", "calcified_granuloma": "mild"}),
        ("Several granulomas.", {}),
        ("Slightly increased opacity.", {}),
        ("The heart is large.", {}),
    ],
)
def test_a_severity_is_of_a_size_and_of_all_names_of_one_thing(text: str, expected: dict[str, str]) -> None:
    (sentence,) = sentences(text, ("granuloma", "calcified_granuloma", "lung_opacity", "cardiomegaly"))
    assert sentence.severities == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Right lower lobe calcified granuloma.", {"granuloma": "right", "calcified_granuloma": "right"}),
        ("Left basilar opacity consistent with atelectasis.", {"lung_opacity": "left", "atelectasis": "left"}),
        ("Bibasilar opacities, atelectasis or scarring.", {"lung_opacity": "bilateral", "atelectasis": "bilateral"}),
        ("Opacity and atelectasis are seen in the left base.", {"lung_opacity": "left", "atelectasis": "left"}),
        ("Biapical opacities.", {"lung_opacity": "bilateral"}),
        ("Opacities in the lung bases.", {"lung_opacity": "bilateral"}),
        ("Midright lung opacity.", {"lung_opacity": "right"}),
        ("Left effusion. Edema.", {"pleural_effusion": "left", "edema": None}),
        ("Left effusion and edema.", {"pleural_effusion": "left", "edema": None}),
    ],
)
def test_a_side_reaches_all_names_of_one_place(text: str, expected: dict[str, str | None]) -> None:
    assert sides(text, ("granuloma", "calcified_granuloma", *FINDINGS)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Increased density from the effusion.", {}),
        ("Pleural effusion with increased density at the base.", {}),
        ("The lung appears smaller, which is atelectasis.", {}),
        ("Increased edema.", {"edema": "worsening"}),
        ("Decreased left pleural effusion.", {"pleural_effusion": "improving"}),
        ("Edema has decreased.", {"edema": "improving"}),
        ("Increased opacity.", {}),
        ("Increased opacity since the prior study.", {"lung_opacity": "worsening"}),
        ("Atelectasis, smaller than the left lung.", {}),
        ("Persistent edema.", {"edema": "stable"}),
        ("New pneumothorax.", {"pneumothorax": "worsening"}),
    ],
)
def test_a_description_is_no_course(text: str, expected: dict[str, str]) -> None:
    assert said(text)[2] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Effusion on the right side (which appears on the left side of the image).", "right"),
        ("Effusion, smaller right lung compared to the left.", "right"),
        ("Effusions, right greater than left.", "bilateral"),
        ("Effusion on the left side.", "left"),
    ],
)
def test_a_side_of_the_picture_is_none_of_the_body(text: str, expected: str) -> None:
    assert sides(text, FINDINGS)["pleural_effusion"] == expected


@pytest.mark.parametrize(
    "text",
    [
        "The atelectasis is likely due to compression.",
        "Atelectasis likely results from compression.",
        "A pleural effusion (the meniscus may be subtle).",
        "CT may help to confirm the effusion.",
    ],
)
def test_a_doubt_about_something_else_is_none_about_the_finding(text: str) -> None:
    assert said(text)[1] == set()


def test_what_is_absent_can_only_have_improved() -> None:
    assert said("Stable heart size without edema.")[2] == {}
    assert said("Edema has resolved.")[2] == {"edema": "improving"}
