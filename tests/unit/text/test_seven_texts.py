"""The seven published texts of one CXR-MAX case: findings, sides, the refusal and the unfilled slot are read."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from apo_lightning.text.doubts import audit
from apo_lightning.text.labeler import kind, parse, sentences, sides
from apo_lightning.text.slots import unfilled

EXAMPLE = Path(__file__).resolve().parents[4] / "shared/data/cxr_max_example/example.json"
FINDINGS = ("atelectasis", "pleural_effusion")
RIGHT = {"Claude Sonnet-4", "GLM-4.5V", "Gemini-2.5-flash-lite", "Grok-4"}
LEFT = {"GPT-5-nano", "Qwen-VL-Max"}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    if not EXAMPLE.exists():
        pytest.skip("needs ../shared/data/cxr_max_example")
    return json.loads(EXAMPLE.read_text())["trajectories"]


def test_one_refuses_and_six_state_both_findings(texts: dict[str, str]) -> None:
    assert {name: kind(text, FINDINGS) for name, text in texts.items()} == {
        **dict.fromkeys(RIGHT | LEFT, "stated"),
        "Moonshot-v1": "refused",
    }
    assert all(parse(texts[name], FINDINGS) == dict.fromkeys(FINDINGS, 1.0) for name in RIGHT | LEFT)


def test_four_say_right_and_two_left_of_both_findings(texts: dict[str, str]) -> None:
    said = {name: sides(texts[name], FINDINGS) for name in texts}
    wanted = {**dict.fromkeys(RIGHT, "right"), **dict.fromkeys(LEFT, "left")}
    assert said == {**{n: dict.fromkeys(FINDINGS, side) for n, side in wanted.items()}, "Moonshot-v1": {}}
    assert Counter(own["pleural_effusion"] for own in said.values() if own) == {"right": 4, "left": 2}


def test_the_unfilled_slot_is_told_and_states_nothing(texts: dict[str, str]) -> None:
    assert {name: unfilled(text) for name, text in texts.items() if unfilled(text)} == {
        "Gemini-2.5-flash-lite": ["#blank"]
    }
    text = texts["Gemini-2.5-flash-lite"]
    assert audit("s", "t", text, FINDINGS).doubts == ("leaves a slot unfilled: #blank",)
    place = text.index("#blank")
    assert not any(s.start <= place < s.end and "atelectasis" in s.values for s in sentences(text, FINDINGS))


def test_sizes_are_read(texts: dict[str, str]) -> None:
    grades = {name: {} for name in texts}
    for name, text in texts.items():
        for sentence in sentences(text, FINDINGS):
            grades[name] |= sentence.severities
    assert grades["GPT-5-nano"] == {"pleural_effusion": "mild"}
    assert grades["Gemini-2.5-flash-lite"] == {"pleural_effusion": "severe"}
    assert not any(sentence.compared for text in texts.values() for sentence in sentences(text, FINDINGS))


@pytest.mark.parametrize(
    ("text", "slots", "stated"),
    [
        ("Edema: #blank", ["#blank"], {}),
        ("Edema: [insert finding]. Pneumonia: yes.", ["[insert finding]"], {"pneumonia": 1.0}),
        ("Edema: ____", ["____"], {}),
        ("**Edema:** {{edema_status}}", ["{{edema_status}}"], {}),
        ("Edema: <describe here>", ["<describe here>"], {}),
        ("Edema on the [side] side.", ["[side]"], {"edema": 1.0}),
        ("[x] Edema\n[ ] Pneumonia", [], {"edema": 1.0, "pneumonia": 0.0}),
        ('{"edema": true}', [], {"edema": 1.0}),
        ("___-year-old with edema.", [], {"edema": 1.0}),
    ],
)
def test_slots(text: str, slots: list[str], stated: dict[str, float]) -> None:
    assert unfilled(text) == slots
    found = parse(text, ("edema", "pneumonia"))
    assert {name: value for name, value in found.items() if value == value} == stated
