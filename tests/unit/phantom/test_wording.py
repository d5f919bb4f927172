"""The words of the phantom world: complete, distinct, and as a style says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apo_lightning.findings import CHEXPERT, NIH
from apo_lightning.phantom import wording
from apo_lightning.phantom.wording import PLAIN, Style, compose, ground_truth, random_style, say
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.text.labeler import parse
from apo_lightning.types import Detail


def test_every_finding_has_the_same_number_of_distinct_names() -> None:
    assert tuple(wording.NAMES) == FINDINGS
    assert {len(names) for names in wording.NAMES.values()} == {3}
    flat = [name for names in wording.NAMES.values() for name in names]
    assert len(set(flat)) == len(flat)


@pytest.mark.parametrize(
    "bank", ["POSITIVE", "NEGATIVE", "HEDGED", "OPENERS", "CLOSERS", "REFUSALS", "FORMS", "NORMAL", "EXTRAS"]
)
def test_phrases_of_a_bank_differ(bank: str) -> None:
    phrases = getattr(wording, bank)
    assert len(set(phrases)) == len(phrases)


@pytest.mark.parametrize(
    ("style", "finding", "detail", "hedged", "text"),
    [
        (Style(), "edema", None, False, "No edema."),
        (Style(negative=3), "pleural_effusion", None, False, "Pleural effusion: no."),
        (Style(positive=3), "pneumonia", Detail("left", "mild"), False, "Pneumonia: yes, mild, left."),
        (Style(positive=3), "pneumonia", Detail(), False, "Pneumonia: yes."),
        (Style(positive=1, names=1), "cardiomegaly", Detail(None, "severe"), False, "There is severe enlarged heart."),
        (Style(hedged=2), "edema", Detail(None, "mild"), True, "Suspicion of mild edema."),
        (Style(positive=2), "pneumothorax", Detail("right"), False, "Right pneumothorax is present."),
    ],
)
def test_say_by_hand(style: Style, finding: str, detail: Detail | None, hedged: bool, text: str) -> None:
    assert say(style, finding, detail, hedged) == text


def test_compose_follows_the_order_of_the_style() -> None:
    style = Style(opener=3, closer=2, order=("pneumonia", "edema", "atelectasis"))
    text = compose(style, {"edema": Detail(None, "mild")}, ("atelectasis", "edema", "pneumonia"))
    assert text == "Report: No pneumonia. Mild edema. No atelectasis. End of report."


LEFT_EDEMA = {"edema": Detail(None, "mild"), "pneumonia": Detail("left", "severe")}
TWO = ("edema", "pneumonia")


@pytest.mark.parametrize(
    ("style", "present", "extras", "text"),
    [
        (Style(form=2, opener=1), LEFT_EDEMA, (), "Chest radiograph reviewed.\nMild edema.\nSevere left pneumonia."),
        (
            Style(form=1),
            {"pneumonia": Detail("left", "severe")},
            (),
            "Findings: No edema. Severe left pneumonia. Impression: severe left pneumonia.",
        ),
        (
            Style(form=1),
            {},
            (),
            "Findings: No edema. No pneumonia. Impression: No acute cardiopulmonary abnormality.",
        ),
        (Style(form=3, negative=1), {"edema": Detail()}, (), "Edema."),
        (Style(form=3), {}, (), "No acute cardiopulmonary abnormality."),
        (Style(normal=2, opener=3), {}, (), "Report: Normal chest radiograph."),
        (Style(normal=2), {"edema": Detail()}, (), "Edema. No pneumonia."),
        (Style(normal=2, positive=5), {}, ("rib fracture",), "No edema. No pneumonia. Rib fracture is seen."),
        (
            Style(form=1, closer=2),
            {},
            ("emphysema",),
            "Findings: No edema. No pneumonia. Emphysema. Impression: emphysema. End of report.",
        ),
    ],
)
def test_forms_by_hand(style: Style, present: dict[str, Detail], extras: tuple[str, ...], text: str) -> None:
    assert compose(style, present, TWO, extras=extras) == text


def test_an_impression_says_what_is_only_possible() -> None:
    text = compose(Style(form=1, hedged=0), LEFT_EDEMA, TWO, hedged=frozenset({"edema"}))
    assert text.endswith("Impression: possible mild edema, severe left pneumonia.")


@pytest.mark.parametrize("form", range(len(wording.FORMS)))
@pytest.mark.parametrize("normal", range(len(wording.NORMAL)))
def test_every_form_states_what_it_was_made_from(form: int, normal: int) -> None:
    """What is silent about the absent leaves them unstated; extras are none of the seven."""
    rng = np.random.default_rng(0)
    for case in cases(5, 40):
        present = {} if rng.random() < 0.3 else case.present
        style = replace(random_style(rng), form=form, normal=normal)
        extras = ["lung nodule"] if rng.random() < 0.3 else []
        said = parse(compose(style, present, extras=extras), FINDINGS)
        for name in FINDINGS:
            silent = wording.FORMS[form] == "positives" and (present or extras) and name not in present
            assert np.isnan(said[name]) if silent else said[name] == float(name in present)


def test_extras_are_findings_that_are_none_of_the_seven() -> None:
    for name in wording.EXTRAS:
        said = parse(f"I see {name}.", tuple(dict.fromkeys((*CHEXPERT, *NIH))))
        named = {finding for finding, value in said.items() if value == 1}
        assert named and not named & set(FINDINGS)


def test_compose_leaves_out_what_is_not_asked() -> None:
    assert compose(PLAIN, {"edema": Detail()}, ("pneumonia",)) == "No pneumonia."
    assert compose(PLAIN, {}, ()) == ""


def test_ground_truth_speaks_of_everything_once() -> None:
    text = ground_truth({"pneumothorax": Detail("left", "severe")})
    assert text.count(".") == len(FINDINGS)
    assert text.endswith("Severe left pneumothorax.") and text.startswith("No atelectasis.")


def test_random_styles_reach_every_phrase() -> None:
    rng = np.random.default_rng(0)
    styles = [random_style(rng) for _ in range(400)]
    for key, size in (
        ("positive", 7),
        ("negative", 7),
        ("hedged", 3),
        ("opener", 5),
        ("closer", 3),
        ("refusal", 3),
        ("names", 3),
    ):
        assert {getattr(style, key) for style in styles} == set(range(size))
    assert all(sorted(style.order) == list(FINDINGS) for style in styles)
    assert len({style.order for style in styles}) > 300
