"""The text labeler: exact on every wording of the phantom, sensible on what radiologists and large models write."""

from __future__ import annotations

import json
import math
import re
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from apo_lightning.phantom import wording
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.text import labeler

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def stated(text: str) -> dict[str, float]:
    """Only what is stated, so that a case reads as its expectation."""
    return {name: value for name, value in labeler.parse(text, FINDINGS).items() if not math.isnan(value)}


def test_every_style_of_the_phantom_is_read_exactly() -> None:
    rng = np.random.default_rng(0)
    for case in cases(seed=5, count=1500):
        hedged = frozenset(name for name in case.present if rng.random() < 0.4)
        spoken = [name for name in FINDINGS if rng.random() < 0.9] or list(FINDINGS)
        text = wording.compose(wording.random_style(rng), case.present, spoken, hedged)
        assert stated(text) == {name: float(name in case.present) for name in spoken}, text
        sides = {name: case.present[name].side for name in spoken if name in case.present}
        assert labeler.sides(text, FINDINGS) == sides, text
        assert not labeler.refused(text)


@pytest.mark.parametrize("bank", ["POSITIVE", "NEGATIVE", "HEDGED"])
@pytest.mark.parametrize("variant", range(3))
def test_every_phrase_with_every_name_alone(bank: str, variant: int) -> None:
    for phrase in getattr(wording, bank):
        for name in FINDINGS:
            word = wording.NAMES[name][variant]
            text = phrase.format(what=f"mild {word}", name=word, rest=", mild")
            assert stated(text) == {name: float(bank != "NEGATIVE")}, text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No pleural effusion or pneumothorax.", {"pleural_effusion": 0, "pneumothorax": 0}),
        (
            "There is no pneumothorax, pleural effusion, or focal consolidation.",
            {"pneumothorax": 0, "pleural_effusion": 0, "consolidation": 0},
        ),
        ("Mild cardiomegaly without pulmonary edema.", {"cardiomegaly": 1, "edema": 0}),
        ("Heart size is normal.", {"cardiomegaly": 0}),
        ("Heart size, mediastinal contour, and pulmonary vascularity are within normal limits.", {"cardiomegaly": 0}),
        ("Normal heart size, mediastinal and aortic contours.", {"cardiomegaly": 0}),
        ("Heart is not enlarged and effusion is present.", {"cardiomegaly": 0, "pleural_effusion": 1}),
        ("The heart is mildly enlarged, the mediastinum is normal.", {"cardiomegaly": 1}),
        ("Heart size upper limits of normal.", {"cardiomegaly": 0}),
        ("Heart failure. Cardiac pacemaker in place, normal lungs.", {}),
        (
            "Lungs are clear without focal consolidation, effusion or pneumothorax.",
            {"consolidation": 0, "pleural_effusion": 0, "pneumothorax": 0},
        ),
        ("Pneumonia is unlikely.", {"pneumonia": 0}),
        ("Unlikely to represent pneumonia.", {"pneumonia": 0}),
        ("Negative for pneumothorax or pleural effusion.", {"pneumothorax": 0, "pleural_effusion": 0}),
        ("The left effusion has resolved.", {"pleural_effusion": 0}),
        ("Resolved atelectasis.", {"atelectasis": 0}),
        ("The edema has not completely resolved.", {"edema": 1}),
        ("Pneumonia cannot be excluded.", {"pneumonia": 1}),
        ("Pneumonia cannot be entirely excluded.", {"pneumonia": 1}),
        ("Cannot rule out a small pneumothorax.", {"pneumothorax": 1}),
        ("Pneumothorax has been ruled out.", {"pneumothorax": 0}),
        ("Possible consolidation.", {"consolidation": 1}),
        ("Opacities which may represent atelectasis.", {"atelectasis": 1}),
        ("No significant change in the right effusion.", {"pleural_effusion": 1}),
        ("Pneumothorax is no longer seen.", {"pneumothorax": 0}),
        ("A pneumothorax isn't seen.", {"pneumothorax": 0}),
        ("Edema is present and pneumothorax is absent.", {"edema": 1, "pneumothorax": 0}),
        ("Edema, effusion and pneumothorax are absent.", {"edema": 0, "pleural_effusion": 0, "pneumothorax": 0}),
        ("There is left atelectasis, pneumonia is unlikely.", {"atelectasis": 1, "pneumonia": 0}),
        ("No pneumothorax, but a small effusion.", {"pneumothorax": 0, "pleural_effusion": 1}),
        ("No pneumothorax, stable cardiomegaly.", {"pneumothorax": 0, "cardiomegaly": 1}),
        ("No pneumothorax, large effusion, or edema.", {"pneumothorax": 0, "pleural_effusion": 0, "edema": 0}),
        ("Atelectasis, but the catheter is no longer seen.", {"atelectasis": 1}),
        ("Neither edema nor effusion.", {"edema": 0, "pleural_effusion": 0}),
        ("Atelectasis rather than pneumonia.", {"atelectasis": 1, "pneumonia": 0}),
        ("Pericardial effusion. Soft tissue edema.", {}),
        ("Indication: cough, rule out pneumonia.", {}),
        ("Evaluate for pneumothorax. History of pneumonia.", {}),
        ("Pneumothorax: No\nEdema: Yes\nEffusion: none", {"pneumothorax": 0, "edema": 1, "pleural_effusion": 0}),
        ("**Pneumothorax:** no, **Edema:** yes", {"pneumothorax": 0, "edema": 1}),
        ("Impression: no edema", {"edema": 0}),
        ("There is no focal\nconsolidation.", {"consolidation": 0}),
        ("pleural_effusion: no", {"pleural_effusion": 0}),
    ],
)
def test_sentences_as_radiologists_and_models_write_them(text: str, expected: dict[str, int]) -> None:
    assert stated(text) == expected


def test_the_later_sentence_wins() -> None:
    assert stated("There is edema. No edema.") == {"edema": 0}
    assert stated("No edema. There is edema.") == {"edema": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "excluded excluded excluded excluded",
        "edema edema edema edema",
        "\n\n.",
        "Pneumonia pneumonia pneumonia pneumonia pneumonia.",
    ],
)
def test_no_answer_is_a_refusal(text: str) -> None:
    assert stated(text) == {}
    assert labeler.refused(text)


@pytest.mark.parametrize(
    "text",
    [
        *wording.REFUSALS,
        "I'm unable to interpret this X-ray.",
        "I can't analyze images.",
        "As an AI, I'm not capable of interpreting medical images. Edema is serious.",
    ],
)
def test_refusals(text: str) -> None:
    assert labeler.refused(text)
    assert stated(text) == {}


@pytest.mark.parametrize(
    "text",
    [
        "I cannot give a definitive diagnosis. There is edema.",
        "I cannot see edema.",
        "I'm unable to diagnose from images, but I can describe it: left effusion.",
        "I can explain the diagnosis. Edema. Please consult a radiologist.",
    ],
)
def test_modesty_is_no_refusal(text: str) -> None:
    assert not labeler.refused(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Left atelectasis and right pneumothorax.", {"atelectasis": "left", "pneumothorax": "right"}),
        ("Effusion on the right.", {"pleural_effusion": "right"}),
        ("Effusions, left greater than right.", {"pleural_effusion": "bilateral"}),
        ("Bibasilar atelectasis. No left effusion.", {"atelectasis": "bilateral"}),
        ("Left effusion. In short, effusion.", {"pleural_effusion": "left"}),
        ("Edema. Findings that support both diagnoses.", {"edema": None}),
    ],
)
def test_sides(text: str, expected: dict[str, str | None]) -> None:
    assert labeler.sides(text, FINDINGS) == expected


def test_only_what_is_asked_comes_back_in_that_order() -> None:
    assert list(labeler.parse("No edema.", ["pneumonia", "edema"])) == ["pneumonia", "edema"]


def test_a_finding_outside_the_vocabulary_is_found_under_its_own_name() -> None:
    found = labeler.parse("No hiatal hernia. Two masses.", ["hiatal_hernia", "mass"])
    assert found == {"hiatal_hernia": 0.0, "mass": 1.0}


def test_read_gives_arrays_and_takes_no_texts_at_all() -> None:
    answers, refused = labeler.read(["No edema.", "Please consult a radiologist."], ["edema", "pneumonia"])
    np.testing.assert_array_equal(answers, [[0, np.nan], [np.nan, np.nan]])
    assert refused.tolist() == [False, True]
    assert labeler.read([], ["edema"])[0].shape == (0, 1)


def test_ten_thousand_texts_take_seconds() -> None:
    rng = np.random.default_rng(1)
    texts = [wording.compose(wording.random_style(rng), case.present) for case in cases(seed=6, count=2000)] * 5
    start = time.process_time()
    labeler.read(texts, FINDINGS)
    assert time.process_time() - start < 10


def test_long_garbage_does_not_hang() -> None:
    start = time.process_time()
    for text in (
        '{"a":' * 9000,
        '[{"' * 9000,
        "|" * 50000,
        "| edema | no |\n" * 3000,
        "edema: " * 7000,
        "<think>" * 7000,
        "\u274c edema " * 5000,
        "<edema>" * 7000,
        "." * 50000,
        "\n \t" * 20000,
        "chest x-ray " * 4000,
        "edema ..... " * 4000,
        "absent:\n" + "- edema\n" * 5000,
        "edema? " * 7000,
        "** " * 20000,
        "(no) edema " * 5000,
        "the heart is " * 3000,
        "no " * 10000,
        "i cannot " * 5000,
        "a b c d e " * 5000,
        "x" * 50000,
    ):
        labeler.parse(text, FINDINGS)
    assert time.process_time() - start < 20  # a second at most for each: none is quadratic


@pytest.mark.skipif(not (DATA / "cxr_max_example").exists(), reason="needs ../shared/data/cxr_max_example")
def test_the_seven_published_trajectories() -> None:
    texts = json.loads((DATA / "cxr_max_example" / "example.json").read_text())["trajectories"]
    assert [name for name, text in texts.items() if labeler.refused(text)] == ["Moonshot-v1"]
    for name, text in texts.items():
        if name != "Moonshot-v1":
            found = stated(text)
            assert (found["atelectasis"], found["pleural_effusion"]) == (1, 1), name
    assert labeler.sides(texts["GPT-5-nano"], FINDINGS)["pleural_effusion"] == "left"
    assert labeler.sides(texts["Gemini-2.5-flash-lite"], FINDINGS)["pleural_effusion"] == "right"


@pytest.mark.skipif(not (DATA / "openi_sample").exists(), reason="needs ../shared/data/openi_sample")
def test_agrees_with_the_tags_of_real_reports() -> None:
    """Open-I reports carry tags set by hand and by machine. A stated finding agrees with them in at least 98 %."""
    right = {name: [0, 0] for name in FINDINGS}
    with tarfile.open(DATA / "openi_sample" / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            if not member.name.endswith(".xml"):
                continue
            xml = archive.extractfile(member).read().decode()
            text = "\n\n".join(re.findall(r'Label="(?:FINDINGS|IMPRESSION)">([^<]*)<', xml))
            tags = " ".join(re.findall(r"<(?:major|automatic)>([^<]*)<", xml)).lower()
            for name, value in stated(text).items():
                tagged = name.replace("_", " ").removesuffix("is") in tags
                right[name][int(value == tagged)] += 1
    for name, (wrong, agreed) in right.items():
        assert agreed + wrong > 200 and agreed / (agreed + wrong) > (0.98 if name != "atelectasis" else 0.94), name


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("No acute cardiopulmonary abnormality.", {"no_finding": 1.0, "hernia": 0.0}),
        ("The chest is normal.", {"no_finding": 1.0}),
        ("Hazy opacities in both lungs. No nodules.", {"lung_opacity": 1.0, "lung_lesion": 0.0, "nodule": 0.0}),
        ("A mass in the right upper lobe.", {"mass": 1.0, "lung_lesion": 1.0}),
        ("Subcutaneous emphysema is seen.", {}),
        (
            "Endotracheal tube in place. The mediastinum is widened.",
            {"support_devices": 1.0, "enlarged_cardiomediastinum": 1.0},
        ),
        ("COVID-19 pneumonia.", {"covid_19": 1.0, "pneumonia": 1.0}),
        ("A mass is not seen.", {"mass": 0.0, "lung_lesion": 0.0}),
        ("Nodules and masses are absent.", {"nodule": 0.0, "mass": 0.0, "lung_lesion": 0.0}),
        ("No rib fracture, no hiatal hernia.", {"fracture": 0.0, "hernia": 0.0}),
    ],
)
def test_findings_beyond_the_canonical_ones(text, stated):
    for name, value in stated.items():
        assert labeler.parse(text, [name]) == {name: value}
    assert labeler.parse(text, list(stated)) == stated, "asking for several changes nothing"
    if not stated:
        assert math.isnan(labeler.parse(text, ["emphysema"])["emphysema"])


def test_a_name_may_begin_with_a_digit():
    assert labeler.parse("2019 ncov is present.", ["2019_ncov"]) == {"2019_ncov": 1.0}


def test_what_states_nothing_depends_on_what_is_asked():
    text = "There is a mass in the left lung."
    assert (labeler.kind(text), labeler.kind(text, ["mass"])) == ("nothing", "stated")
    assert not labeler.refused(text) and not labeler.refused(text, ["mass"])


NAMES = ["edema", "fracture", "lung_lesion", "mass", "no_finding", "pleural_effusion", "support_devices"]
ALL_DENIED = {**dict.fromkeys(NAMES[:-1], 0.0), "no_finding": 1.0}


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("No acute findings or pleural effusion.", ALL_DENIED),
        ("No significant abnormality or fracture.", ALL_DENIED),
        ("No acute findings. There is edema.", {"edema": 1.0}),
        ("No findings of edema.", {"edema": 0.0}),
        ("Mass effect on the trachea. Volume overload leads to edema.", {"edema": 1.0}),
    ],
)
def test_normality_denies_every_finding_and_look_alikes_are_not_findings(text, stated):
    assert {name: value for name, value in labeler.parse(text, NAMES).items() if not math.isnan(value)} == stated
