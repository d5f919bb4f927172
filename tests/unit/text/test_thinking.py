"""Telling thinking from answer."""

from __future__ import annotations

import pytest

from apo_lightning.text import labeler
from apo_lightning.text.thinking import ThinkingPolicy, all_as_answer, answer, only_answer, thinking_spans
from apo_lightning.types import Trajectory


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No edema.\n", "No edema.\n"),
        ("<think>Edema?</think>\n\nNo edema.\n", "No edema."),
        ("<think>\nA <b> c", ""),
        ("Edema?</think>No edema.", "No edema."),
        ("<THINKING >a</Thinking> b <reasoning>c</reasoning> d", "b\n\nd"),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("\u25c1think\u25b7a\u25c1/think\u25b7b", "b"),
        ("a < b and think > c", "a < b and think > c"),
        ("", ""),
    ],
)
def test_the_answer_is_what_stands_outside(text: str, expected: str) -> None:
    """A text without thinking stays as it is, to the last line break."""
    assert answer(text) == expected


@pytest.mark.parametrize("text", ["<think>Edema.</think> No edema.", "Edema.</think> No edema.", "<think>Edema."])
def test_both_readings_keep_every_character_in_its_place(text: str) -> None:
    assert len(only_answer(text)) == len(all_as_answer(text)) == len(text)
    for sentence in labeler.sentences(all_as_answer(text), ["edema"]):
        assert text[sentence.start : sentence.end] in ("Edema.", "No edema.")


def test_what_is_thought_is_read_only_where_it_is_asked_for() -> None:
    text = "<think>There is pneumonia.</think> No edema."
    assert labeler.parse(text, ["edema"]) == {"edema": 0.0}
    assert set(labeler.sentences(text, ["pneumonia"])[0].values) == {"edema"}
    assert labeler.parse(all_as_answer(text), ["edema", "pneumonia"]) == {"edema": 0.0, "pneumonia": 1.0}


def test_thinking_without_an_answer_is_a_refusal() -> None:
    assert labeler.refused("<think>There is edema.")
    assert not labeler.refused(all_as_answer("<think>There is edema."))


def test_spans() -> None:
    assert thinking_spans("x<think>a</think>y<think>z") == [(1, 17), (18, 26)]


def test_what_an_experiment_does_with_thinking() -> None:
    said = [Trajectory("s", "a", "<think>Edema.</think> No edema.", 0.5)]
    assert ThinkingPolicy().apply_policy(said, "taught") == [Trajectory("s", "a", "No edema.", 0.5)]
    assert ThinkingPolicy(taught=True).apply_policy(said, "taught") == said
    (read,) = ThinkingPolicy(judged=True).apply_policy(said, "read")
    assert [values.values for values in labeler.sentences(read.text, ["edema"])] == [{"edema": 1.0}, {"edema": 0.0}]
