"""What becomes a branch: filters of refusals, empty texts and copies, and what they count."""

from __future__ import annotations

from collections import Counter

from apo_lightning.batching import examples
from apo_lightning.text.thinking import all_as_answer
from apo_lightning.types import PREFERRED, Study, Trajectory

STUDIES = [Study(f"s{i}", f"p{i}", "train", (), {"edema": 1.0}) for i in range(3)]
SAID = [
    ("s0", "a", "No edema."),
    ("s0", "b", "I cannot interpret medical images."),
    ("s0", "c", " "),
    ("s1", "b", "Severe edema."),
    ("s1", "a", "Severe   edema."),
    ("s1", "x", "Edema."),
]
WEIGHTS = {"a": 1.0, "b": 2.0, "c": 1.0}
HEARD = examples.index([Trajectory(*row) for row in SAID], list(WEIGHTS))


def names(found) -> list[list[str]]:
    return [[branch.source for branch in example.branches] for example in found]


def test_teachers_stand_in_the_order_of_the_pool_and_unknown_ones_are_left_out() -> None:
    assert [list(row) for row in HEARD.values()] == [["a", "b", "c"], ["a", "b"]]


def test_spd_drops_empty_texts_and_refusals_and_counts_them() -> None:
    counts: Counter[str] = Counter()
    found = examples.spd_examples(STUDIES, HEARD, WEIGHTS, drop_refusals=True, counts=counts)
    assert names(found) == [["a"], ["a", "b"]]
    assert counts == {"kept": 3, "refusals": 1, "empty": 1, "studies_without_teacher": 1}
    assert [b.weight for b in found[1].branches] == [1.0, 2.0]
    kept = examples.spd_examples(STUDIES, HEARD, WEIGHTS, drop_refusals=False, counts=Counter())
    assert names(kept) == [["a", "b"], ["a", "b"]]


def test_normal_texts_and_those_that_state_nothing_are_kept_and_counted() -> None:
    texts = ["No acute cardiopulmonary abnormality.", "The trachea is midline.", "I cannot interpret medical images."]
    heard = examples.index([Trajectory("s0", name, text) for name, text in zip("abc", texts, strict=True)], "abc")
    counts: Counter[str] = Counter()
    taught = examples.spd_examples(STUDIES[:1], heard, WEIGHTS, drop_refusals=True, counts=counts)
    assert names(taught) == [["a", "b"]]
    assert counts == {"kept": 2, "normal": 1, "states_nothing": 1, "refusals": 1}
    best = {"s0": "Severe edema."}
    judged = examples.preference_examples(
        STUDIES[:1], heard, WEIGHTS, best, drop_refusals=True, drop_copies=True, counts=Counter(), compare=["edema"]
    )
    assert names(judged) == [[PREFERRED, "a", "b"]]
    assert judged[0].branches[1].conflicts == ((0, len(texts[0])),), "a normal text contradicts a finding"


def test_thinking_is_filtered_as_it_is_read() -> None:
    heard = examples.index([Trajectory("s0", "a", "<think>I cannot interpret medical images.</think> Edema.")], ["a"])
    answers = examples.spd_examples(STUDIES[:1], heard, WEIGHTS, drop_refusals=True, counts=Counter())
    thoughts = examples.spd_examples(
        STUDIES[:1], heard, WEIGHTS, drop_refusals=True, counts=Counter(), as_read=all_as_answer
    )
    assert (names(answers), names(thoughts)) == ([["a"]], [])


def test_apo_puts_the_preferred_first_and_drops_exact_copies_of_it() -> None:
    counts: Counter[str] = Counter()
    preferred = {"s0": "Edema.", "s1": "Severe edema.", "s2": " "}
    found = examples.preference_examples(
        STUDIES, HEARD, WEIGHTS, preferred, drop_refusals=True, drop_copies=True, counts=counts
    )
    assert names(found) == [[PREFERRED, "a"], [PREFERRED]]
    assert counts["copies"] == 2 and counts["studies_without_preferred"] == 1


def test_informed_studies_read_every_teacher() -> None:
    found = examples.informed(STUDIES, HEARD)
    assert [[t.teacher for t in example.context] for example in found] == [["a", "b", "c"], ["a", "b"]]
