"""Decisions at the place where an answer decides: whose sentences, where, and what a known student makes of them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from apo_lightning.probes import in_place
from apo_lightning.probes.in_place import own_words

FINDINGS = ("edema", "pneumonia")
TEXTS = {
    "a": "Mild edema. No pneumonia.",
    "b": "Severe edema. Mild pneumonia.",
    "c": "No pneumonia. Mild edema.",
    "d": "No edema or pneumonia.",
}


def test_sentences_that_state_one_finding_are_taken_by_frequency() -> None:
    words = own_words(TEXTS, FINDINGS, 1)
    assert words.sides["edema"][0] == ("Mild edema",)  # twice, Severe edema once
    assert words.sides["pneumonia"] == (("Mild pneumonia",), ("No pneumonia",))
    assert own_words(TEXTS, FINDINGS, 3).sides["edema"][0] == ("Mild edema", "Severe edema")


def test_a_side_that_is_never_written_is_borrowed() -> None:
    words = own_words(TEXTS, FINDINGS, 3)  # "No edema or pneumonia" says two things at once
    assert words.sides["edema"][1] == ("Edema: no", "There is no edema") and words.borrowed == 1


def test_a_place_is_the_first_sentence_on_the_finding_else_the_end() -> None:
    words = own_words({**TEXTS, "e": "No edema."}, FINDINGS, 3)
    assert words.before("a", "pneumonia", TEXTS["a"]) == "Mild edema. "
    assert words.before("c", "pneumonia", TEXTS["c"]) == ""
    assert words.before("d", "pneumonia", TEXTS["d"]) == ""
    assert words.before("e", "pneumonia", "No edema.") == "No edema. "
    assert words.before("f", "edema", "") == ""


def test_an_answer_that_is_read_otherwise_than_it_stands_has_no_places() -> None:
    words = own_words({"a": "<think>No edema.</think>Mild edema."}, FINDINGS, 3, lambda text: text.split(">")[-1])
    assert words.places == {} and words.borrowed == 4


class Letters:
    """A collator whose tokens are letters."""

    tokenizer = SimpleNamespace(unk_token_id=None)
    max_branch_tokens = 40

    def answer(self, text: str) -> SimpleNamespace:
        return SimpleNamespace(ids=list(text))

    def __call__(self, items: list) -> list[list[str]]:
        return [[branch.text for branch in example.branches] for example, _ in items]


class Known:
    """A student that gives every text a probability of its own."""

    def __init__(self, logps: dict[str, float]) -> None:
        self.known = logps

    def to(self, device: torch.device) -> None:
        return None

    def score(self, rows: list[list[str]]) -> SimpleNamespace:
        width = max(map(len, rows))
        return SimpleNamespace(
            logps=torch.tensor([[self.known[text] for text in row] + [0.0] * (width - len(row)) for row in rows])
        )


DATA = SimpleNamespace(images=lambda study: [], transfer_batch_to_device=lambda batch, device, place: batch)


def test_the_probability_is_the_share_of_the_present_side_worked_out_by_hand() -> None:
    texts = {"a": "Mild edema.", "b": "No edema.", "c": "Severe edema."}
    words = own_words(texts, ("edema",), 3)
    given = {"Mild edema": math.log(0.1), "Severe edema": math.log(0.2), "No edema": math.log(0.1)}
    studies = [SimpleNamespace(id=name, findings={}) for name in texts]
    found = in_place.decisions(Known(given), DATA, studies, texts, words, Letters(), torch.device("cpu"))
    assert [own["edema"] for own in found] == pytest.approx([0.75] * 3, abs=1e-6)


def test_what_does_not_fit_is_not_asked() -> None:
    texts = {"a": "Mild edema. " + "x" * 30 + ". No pneumonia.", "b": "Mild pneumonia. No edema."}
    words = own_words(texts, FINDINGS, 1)
    assert list(in_place.continuations(words, "a", texts["a"], Letters())) == ["edema"]
    told = in_place.facts(words, FINDINGS, [{"edema": 0.5}, {"edema": 0.5, "pneumonia": 0.5}])
    assert told["not_asked"] == 1
