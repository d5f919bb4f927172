"""Strategies for negatives: which texts stand against t+, worked out by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from apo_lightning.batching.examples import index, preference_examples
from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Round
from apo_lightning.settings import DecodingSettings
from apo_lightning.types import Answer, Trajectory
from tests.helpers.negatives import FINDINGS, compared, seen, sources

BEST = {"s": "Edema. Left effusion."}


def kept(name: str, texts: dict[str, str], best: str = BEST["s"], **how: object) -> list[str]:
    """Teachers whose texts stand against t+."""
    return sources(compared(name, seen({"s": texts}, {"s": best}), how=how))["s"]


def test_raw_is_what_a_stage_without_a_strategy_takes() -> None:
    texts = {"s": {"a": "No edema.", "b": "I cannot interpret medical images.", "c": " ", "d": BEST["s"]}}
    weights = dict(zip("abcd", (1.0, 2.0, 1.0, 1.0), strict=True))
    heard = index([Trajectory("s", n, text) for n, text in texts["s"].items()], "abcd")
    own, counts, plain = seen(texts, BEST, weights=weights), Counter(), Counter()
    for filters in ({}, {"drop_refusals": False}, {"drop_copies": False}, {"compare": FINDINGS}):
        wanted = preference_examples(own.studies, heard, weights, BEST, findings=FINDINGS, counts=plain, **filters)
        assert compared("raw", own, counts, **filters) == wanted and list(counts.items()) == list(plain.items())


@pytest.mark.parametrize(
    ("text", "contradicts"),
    [
        ("No edema.", 1),
        ("No edema. Right effusion.", 2),
        ("Right effusion.", 1),
        ("Effusion.", 0),
        ("No edema. Edema is present.", 1),  # a wrong sentence counts, though a later one takes it back
        ("No edema. There is no edema.", 1),  # one finding, said twice
        ("Pneumonia.", 0),
        ("The lungs are clear. Normal chest.", 2),
    ],
)
def test_contradicting_counts_findings(text: str, contradicts: int) -> None:
    for findings in (1, 2, 3):
        assert kept("contradicting", {"a": text}, findings=findings) == ["a"] * (contradicts >= findings)


def test_contradicting_reads_what_is_judged() -> None:
    """Thinking that is not read contradicts nothing."""
    texts = {"s": {"a": "<think>No edema.</think> Edema.", "b": "No edema."}}
    assert sources(compared("contradicting", seen(texts, BEST))) == {"s": ["b"]}
    own = seen(texts, BEST, as_read=lambda text: text.replace("<think>", " " * 7).replace("</think>", " " * 8))
    assert sources(compared("contradicting", own)) == {"s": ["a", "b"]}


VOTED = {
    "a": "Edema. No effusion.",
    "b": "No edema. No effusion.",
    "c": "No edema. Effusion.",
    "d": "Edema. Pneumonia.",
}
"""Edema: a, d against b, c. Effusion: a, b against c."""


@pytest.mark.parametrize(("votes", "names"), [(1, ["a", "b", "c", "d"]), (2, ["a", "b", "c", "d"]), (3, [])])
def test_outvoted_asks_for_one_sentence_that_so_many_contradict(votes: int, names: list[str]) -> None:
    assert kept("outvoted", VOTED, votes=votes) == names


def test_outvoted_counts_by_sentence_and_not_by_text() -> None:
    """a is contradicted once in edema by b, and once in effusion by c: by one teacher each."""
    texts = {"a": "Edema. No effusion.", "b": "No edema.", "c": "Effusion."}
    assert kept("outvoted", texts, votes=1) == ["a", "b", "c"]
    assert kept("outvoted", texts, votes=2) == []
    one = {"a": "Edema without effusion.", "b": "No edema.", "c": "Effusion."}
    assert kept("outvoted", one, votes=2) == ["a"]  # one sentence, which two contradict


def test_whoever_is_no_negative_still_votes_and_a_refusal_does_not() -> None:
    best = "No edema."
    texts = {"a": "Edema.", "b": best, "c": "There is no edema.", "d": "I cannot interpret medical images."}
    assert kept("outvoted", texts, best, votes=2) == ["a"]  # b is a copy of t+, and c and b contradict a
    assert kept("outvoted", texts, best, votes=3) == []
    assert kept("outvoted", {name: texts[name] for name in "ac"}, best, votes=1) == ["a", "c"]


SIX = {f"s{place}": f"Text {place}." for place in range(6)} | {"twin": "Text  0."}
OF = {"s0": "p", "s1": "p", "s2": "q", "s3": "q", "s4": "r", "s5": "t", "twin": "z"}


def others(
    count: int, seed: int = 0, best: dict[str, str] = SIX, patients: dict[str, str] = OF
) -> dict[str, list[str]]:
    own = seen({}, best, seed=seed, patients=patients)
    return {s: [b.text for b in got] for s, got in NEGATIVES["other_study"](count=count).proposed(own).items()}


def test_other_study_is_never_of_the_patient_nor_the_same_text() -> None:
    drawn = others(9)
    assert set(drawn["s0"]) == {SIX[name] for name in ("s2", "s3", "s4", "s5")}  # not s1 (p), not its twin
    assert set(drawn["s2"]) == {SIX[name] for name in ("s0", "s1", "s4", "s5", "twin")}
    assert set(drawn["twin"]) == {SIX[name] for name in ("s1", "s2", "s3", "s4", "s5")}
    assert [b.source for b in NEGATIVES["other_study"](count=2).proposed(seen({}, SIX, patients=OF))["s4"]] == [
        "other_1",
        "other_2",
    ]


def test_other_study_is_drawn_from_the_seed_and_more_of_them_begin_with_the_same() -> None:
    assert others(2) == others(2) == {s: own[:2] for s, own in others(5).items()}
    assert others(2) != others(2, seed=1)
    assert len({tuple(own) for own in others(3).values()}) > 3  # by study


def test_other_study_takes_each_study_as_often_as_chance_has_it() -> None:
    """One of nine others each, over 900 seeds: 100 times, give or take four standard deviations (9.4)."""
    best = {f"s{place}": f"Text {place}." for place in range(10)}
    drawn = Counter(others(1, seed, best, {name: name for name in best})["s0"][0] for seed in range(900))
    assert len(drawn) == 9 and all(62 < count < 138 for count in drawn.values())


def test_a_study_whose_patient_is_alone_has_no_other() -> None:
    best = {"s0": "Edema.", "s1": "No edema."}
    assert others(1, best=best, patients={"s0": "p", "s1": "p"}) == {"s0": [], "s1": []}
    own = seen({}, best, patients={"s0": "p", "s1": "p"})
    assert sources(compared("other_study", own)) == {"s0": [], "s1": []}


def test_restated_asks_of_one_teacher_at_a_time() -> None:
    texts = {"s": {"a": "Edema.", "b": "No edema."}, "t": {"b": "Effusion."}, "u": {}}
    plan = DecodingSettings(9, sample=True, temperature=0.5)
    own = NEGATIVES["restated"]()
    assert own.decoding(plan) == plan
    assert own.rounds(texts) == [
        Round(["s"], ("a",), {"s": {"a": "Edema."}}),
        Round(["s", "t"], ("b",), {"s": {"b": "No edema."}, "t": {"b": "Effusion."}}),
    ]


def test_restated_takes_the_place_of_the_teachers_text_with_its_weight() -> None:
    texts, written = {"s": {"a": "No edema.", "b": "Effusion."}}, {"s": {"a": "There is no edema."}}
    own = seen(texts, BEST, weights={"a": 0.25}, written=written)
    (branch,) = compared("restated", own)[0].branches[1:]
    assert (branch.source, branch.text, branch.weight) == ("a", "There is no edema.", 0.25)


def test_a_negative_that_was_cut_has_no_end_of_its_own() -> None:
    own = seen({"s": {"a": "No edema."}}, BEST, written={"s": {"a": "", "own_1": ""}})
    for name, answer in (("restated", "a"), ("own_samples", "own_1")):
        own.written["s"].clear()
        own.written["s"][answer] = Answer("No edema, no", cut=True)
        assert [b.cut for b in compared(name, own)[0].branches] == [False, True]


def test_own_samples_are_drawn_from_the_whole_distribution() -> None:
    own = NEGATIVES["own_samples"](count=3, temperature=0.7)
    assert own.rounds({"s": {"a": "Edema."}, "t": {}}) == [Round(["s", "t"], ("own_1", "own_2", "own_3"))]
    plan = DecodingSettings(9, top_p=0.5, top_k=3, repetition_penalty=1.5, no_repeat_ngram_size=2)
    assert own.decoding(plan) == DecodingSettings(9, sample=True, temperature=0.7)


def test_own_samples_are_those_that_are_wrong_and_keep_their_number() -> None:
    written = {"s": {"own_1": "There is edema.", "own_2": "No edema.", "own_3": "No effusion."}}
    own = seen({}, BEST, written=written)
    assert sources(compared("own_samples", own)) == {"s": ["own_2", "own_3"]}
    assert sources(compared("own_samples", own, how={"only_wrong": False})) == {"s": ["own_1", "own_2", "own_3"]}


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("contradicting", {"findings": 0}, "findings must be >= 1, got 0"),
        ("outvoted", {"votes": 0}, "votes must be >= 1, got 0"),
        ("other_study", {"count": -1}, "count must be >= 1, got -1"),
        ("own_samples", {"count": 0}, "count must be >= 1, got 0"),
        ("own_samples", {"temperature": 0.0}, "temperature must be > 0, got 0.0"),
        ("own_samples", {"temperature": float("nan")}, "temperature must be > 0, got nan"),
    ],
)
def test_settings_out_of_range(name: str, how: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NEGATIVES[name](**how)
