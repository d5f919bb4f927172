"""The words of the phantom world: complete, distinct, and as a style says."""

from __future__ import annotations

import numpy as np
import pytest

from apo_lightning.phantom import wording
from apo_lightning.phantom.wording import PLAIN, Style, compose, ground_truth, random_style, say
from apo_lightning.phantom.world import FINDINGS
from apo_lightning.types import Detail


def test_every_finding_has_the_same_number_of_distinct_names() -> None:
    assert tuple(wording.NAMES) == FINDINGS
    assert {len(names) for names in wording.NAMES.values()} == {3}
    flat = [name for names in wording.NAMES.values() for name in names]
    assert len(set(flat)) == len(flat)


@pytest.mark.parametrize("bank", ["POSITIVE", "NEGATIVE", "HEDGED", "OPENERS", "CLOSERS", "REFUSALS"])
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
