"""Contradictions between two texts, by hand and on every wording of the phantom."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from apo_lightning.phantom import wording
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.text import labeler
from apo_lightning.text.conflict import agreement, conflicting_spans, most_agreed
from apo_lightning.types import Detail

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
PREFERRED = "Left effusion. No edema. Cardiomegaly. Bilateral atelectasis."


def conflicting(text: str, preferred: str = PREFERRED, findings=FINDINGS) -> list[str]:
    return [text[start:end] for start, end in conflicting_spans(text, preferred, findings)]


@pytest.mark.parametrize(
    ("text", "expected", "share"),
    [
        (PREFERRED, [], 1),
        ("Right effusion.", ["Right effusion."], 0),
        ("Effusion.", [], 1),
        ("Bilateral effusions. Left atelectasis.", [], 1),
        ("No effusion. Edema is seen; the heart is enlarged.", ["No effusion.", "Edema is seen;"], 1 / 3),
        ("Pneumonia. Pneumothorax on the right. The lungs are clear.", [], 0),
        ("No pneumonia, edema or effusion.", ["No pneumonia, edema or effusion."], 0.5),
        ("There is edema. On review, no edema.", ["There is edema."], 1),
        ("Edema in the left lung and atelectasis.", ["Edema in the left lung and atelectasis."], 0.5),
        ("I cannot interpret medical images. There is edema.", [], 0),
        ("", [], 0),
        ("Normal chest radiograph.", ["Normal chest radiograph."], 1 / 4),
        ("No right effusion.", [], 1),
        ("No left effusion.", ["No left effusion."], 0),
        ('{"edema": true}', ['edema": true'], 0),
        ("<think>Edema.</think> No edema.", [], 1),
    ],
)
def test_by_hand(text: str, expected: list[str], share: float) -> None:
    """Against a left effusion, no edema, cardiomegaly and bilateral atelectasis."""
    assert conflicting(text) == expected
    assert agreement(text, PREFERRED, FINDINGS) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Effusion:** none\n**Edema:** no", ["Effusion:** none"]),
        ("No effusion. Edema. No effusion.", ["No effusion.", "Edema.", "No effusion."]),
        ("- No effusion\n- No edema\n- Heart size is normal.\n", ["- No effusion", "- Heart size is normal."]),
        ("Chest film.  \n\n There is\nedema  \n\nLeft effusion.", ["There is\nedema"]),
        (
            "edema edema edema No edema. There isn\u2019t an effusion.\u00a0Edema: yes",
            ["There isn\u2019t an effusion.", "Edema: yes"],
        ),
        ("\u0130 b. Edema.", ["Edema."]),
    ],
)
def test_spans_are_those_of_the_text_as_written(text: str, expected: list[str]) -> None:
    """Markdown, list items, line breaks, stuttered words, and a letter whose lower case is two."""
    spans = conflicting_spans(text, PREFERRED, FINDINGS)
    assert [text[start:end] for start, end in spans] == expected
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def test_only_the_findings_asked_for_conflict() -> None:
    text = "No effusion. Edema."
    assert conflicting(text, findings=["edema"]) == ["Edema."]
    assert agreement(text, PREFERRED, ["pneumonia", "edema"]) == 0
    assert conflicting("No hiatal hernia.", "Hiatal hernia.", ["hiatal_hernia"]) == ["No hiatal hernia."]


def test_a_text_that_refuses_contradicts_nobody_and_is_contradicted_by_nobody() -> None:
    assert conflicting("Edema.", "I cannot interpret medical images. No edema.") == []


def test_every_style_of_the_phantom() -> None:
    """Two random patients, each in a style of its own: the sentences that conflict are those of findings that do. An
    opener without a full stop is part of the first sentence."""
    rng = np.random.default_rng(0)
    drawn = list(cases(seed=7, count=600))
    for one, other in zip(drawn[::2], drawn[1::2], strict=True):
        style = wording.random_style(rng)
        text = wording.compose(style, one.present)
        preferred = wording.compose(wording.random_style(rng), other.present)
        wrong = [name for name in style.order if _differs(one.present.get(name), other.present.get(name))]
        opener = wording.OPENERS[style.opener] + " "
        spoken = [sentence.removeprefix(opener) for sentence in conflicting(text, preferred)]
        assert spoken == [wording.say(style, name, one.present.get(name)) for name in wrong]
        assert agreement(text, preferred, FINDINGS) == pytest.approx(1 - len(wrong) / len(FINDINGS))


def _differs(one: Detail | None, other: Detail | None) -> bool:
    if one is None or other is None:
        return (one is None) != (other is None)
    return {one.side, other.side} == {"left", "right"}


@pytest.mark.skipif(not (DATA / "cxr_max_example").exists(), reason="needs ../shared/data/cxr_max_example")
def test_spans_of_the_published_trajectories_say_what_the_labeler_reads() -> None:
    """Chat models' markdown: each span, read alone, states what its sentence stated within the text."""
    texts = json.loads((DATA / "cxr_max_example" / "example.json").read_text())["trajectories"]
    seen = 0
    for text in texts.values():
        for sentence in labeler.sentences(text, FINDINGS):
            (alone,) = labeler.sentences(text[sentence.start : sentence.end], FINDINGS)
            if labeler.kind(text[sentence.start : sentence.end]) == "normal":  # within the text it does not deny all
                assert sentence.values.items() <= alone.values.items()
            else:
                assert (alone.values, alone.sides) == (sentence.values, sentence.sides)
            seen += 1
    assert seen > 20


def test_of_several_texts_the_one_that_agrees_best_with_the_others() -> None:
    """Edema: yes, yes, no. Each yes agrees with the other, the no and the refusal with none."""
    texts = ["I cannot say.", "No edema.", "Mild edema.", "Edema is present."]
    assert most_agreed(texts, FINDINGS) == "Mild edema."
    assert most_agreed(["alone"], FINDINGS) == "alone"
