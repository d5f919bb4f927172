"""What every registered strategy for negatives keeps. New ones are tested because they are registered; one with a
setting that has no default gives a classmethod ``example()`` that says with which value to try it.
"""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from apo_lightning.negatives import DEFAULT, NEGATIVES
from apo_lightning.negatives.base import Negatives, Seen
from apo_lightning.settings import DecodingSettings
from tests.helpers.negatives import compared, seen, settings

each_strategy = pytest.mark.parametrize("name", sorted(NEGATIVES))
REFUSAL = "I am sorry, I cannot interpret medical images."
PREFERRED = {
    "s1": "Edema. No effusion.",
    "s2": "No edema. Left effusion.",
    "s3": "Edema, effusion.",
    "s4": "No effusion.",
    "s5": "Pneumonia.",
}
SAID = {
    "s1": {"a": "No edema. No effusion.", "b": "Edema. No effusion.", "c": "There is edema. Effusion."},
    "s2": {"a": REFUSAL, "b": "No edema. Right effusion.", "c": "Severe edema."},
    "s3": {"a": "Edema, effusion.", "b": "", "c": "Edema is seen."},
    "s4": {"c": "An effusion is seen."},
    "s5": {},
}
PATIENTS = {"s1": "p", "s2": "p", "s3": "q", "s4": "q", "s5": "r"}


def writes(name: str) -> dict[str, dict[str, str]]:
    """What a student could have answered in all rounds of a strategy."""
    found: dict[str, dict[str, str]] = {}
    for each in made(name).rounds(SAID):
        for study in each.studies:
            texts = ("No edema. Effusion.", "Edema. No effusion.")
            own = {answer: texts[place % 2] for place, answer in enumerate(each.names)}
            found.setdefault(study, {}).update(own)
    return found


def made(name: str) -> Negatives:
    return NEGATIVES[name](**settings(name))


def given(name: str, **changes) -> Seen:
    """The texts above; something that the student wrote only for strategies that say so."""
    texts, best = changes.pop("texts", SAID), changes.pop("preferred", PREFERRED)
    written = writes(name) if NEGATIVES[name].writes else None
    return seen(texts, best, written=written, patients=PATIENTS, **changes)


def test_the_default_is_the_papers() -> None:
    assert DEFAULT == "raw" and not NEGATIVES[DEFAULT].writes
    with_default, without = compared("raw", given("raw")), given("raw").texts
    assert [[(b.source, b.text) for b in each.branches[1:]] for each in with_default] == [
        [(n, t) for n, t in own.items() if t not in ("", REFUSAL, PREFERRED[s])] for s, own in without.items()
    ]


@each_strategy
def test_is_a_frozen_dataclass_that_says_its_equation(name: str) -> None:
    own = made(name)
    assert isinstance(own, Negatives) and len(NEGATIVES[name].__doc__ or "") > 20
    with pytest.raises(dataclasses.FrozenInstanceError):
        own.anything = 1
    fields = {field.name for field in dataclasses.fields(own)}
    flags = {"writes", "shows", "chooses", "of_teachers", "uses_labels", "courses", "leaves_out", "same_text"}
    assert flags.isdisjoint(fields) and not own.uses_labels
    assert set(own.chooses) <= fields and (own.writes or not own.chooses)


@each_strategy
def test_names_are_different_and_weights_are_what_it_says(name: str) -> None:
    own = given(name, weights={"a": 2.0, "b": 0.5, "c": 0.0})
    proposed = made(name).proposed(own)
    assert set(proposed) == set(PREFERRED)
    for study, answers in proposed.items():
        names = [answer.source for answer in answers]
        assert len(set(names)) == len(names) and "preferred" not in names
        for answer in answers:
            teacher = answer.source in SAID[study]
            assert teacher is NEGATIVES[name].of_teachers
            assert answer.weight == (own.weights[study][answer.source] if teacher else 1.0)


@each_strategy
def test_what_is_kept_was_proposed_and_stands_in_its_order(name: str) -> None:
    own = given(name)
    for study, answers in made(name).proposed(own).items():
        kept = list(made(name).kept(own, study, answers))
        assert kept == [answer for answer in answers if answer in kept]
        assert list(made(name).kept(own, study, [])) == []


@each_strategy
def test_refusals_empty_texts_and_copies_are_no_negatives(name: str) -> None:
    """Whoever wrote them; and every study with a t+ stays, if need be without a negative. Those that are t+ behind
    other images say so, and each has its damage."""
    own = given(name)
    bad = {s: {n: text for n, text in zip("abc", (REFUSAL, " ", best), strict=True)} for s, best in PREFERRED.items()}
    if NEGATIVES[name].writes:
        written = {s: dict(zip(each, bad[s].values(), strict=False)) for s, each in writes(name).items()}
        own = seen(SAID, PREFERRED, written=written, patients=PATIENTS)
    elif NEGATIVES[name].of_teachers:
        own = given(name, texts=bad)
    examples = compared(name, own)
    assert [each.study.id for each in examples] == list(PREFERRED)
    if NEGATIVES[name].same_text:
        assert all(b.text == each.branches[0].text and b.damage for each in examples for b in each.branches[1:])
        return
    assert not any(branch.damage for each in examples for branch in each.branches)
    texts = [(b.text, each.branches[0].text) for each in examples for b in each.branches[1:]]
    assert all(text.strip() and text != REFUSAL and text != best for text, best in texts)
    assert not texts or not NEGATIVES[name].of_teachers


@each_strategy
def test_the_same_again(name: str) -> None:
    assert compared(name, given(name)) == compared(name, given(name))


@each_strategy
@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_the_order_of_teachers_changes_nothing_but_the_order(name: str, order: tuple[str, ...]) -> None:
    turned = {s: {n: own[n] for n in order if n in own} for s, own in SAID.items()}
    one, other = (compared(name, given(name, texts=texts)) for texts in (SAID, turned))
    assert [{b.source: b for b in each.branches} for each in one] == [
        {b.source: b for b in each.branches} for each in other
    ]


@each_strategy
def test_the_order_of_studies_changes_nothing_but_the_order(name: str) -> None:
    turned = dict(reversed(PREFERRED.items()))
    one, other = compared(name, given(name)), compared(name, given(name, preferred=turned))
    assert {each.study.id: each.branches for each in one} == {each.study.id: each.branches for each in other}


@each_strategy
def test_rounds_ask_for_what_it_says(name: str) -> None:
    own, kind = made(name), NEGATIVES[name]
    rounds = own.rounds(SAID)
    assert bool(rounds) is kind.writes
    for each in rounds:
        assert len(set(each.studies)) == len(each.studies) and set(each.studies) <= set(SAID)
        assert (each.shown is not None) is kind.shows and each.names
        for study in each.studies if kind.shows else ():
            assert each.shown[study].items() <= SAID[study].items()
    names = [(study, answer) for each in rounds for study in each.studies for answer in each.names]
    assert len(set(names)) == len(names)
    plan = DecodingSettings(12, repetition_penalty=1.5)
    assert own.decoding(plan).max_new_tokens == 12


@each_strategy
def test_settings_that_only_choose_ask_nothing_else(name: str) -> None:
    """So that what was written is shared."""
    own, plan = made(name), DecodingSettings(12)
    for setting in own.chooses:
        other = dataclasses.replace(own, **{setting: not getattr(own, setting)})
        assert other.rounds(SAID) == own.rounds(SAID) and other.decoding(plan) == own.decoding(plan)


@each_strategy
def test_what_it_says_of_courses_holds(name: str) -> None:
    """One that reads presence and absence would find no conflict between courses."""
    if NEGATIVES[name].courses:
        texts = {"s": {"a": "Edema is worse."}, "t": {"a": "Edema is stable."}}
        best = {"s": "Edema is stable.", "t": "Edema has improved."}
        written = {s: {"a": "Edema has improved."} for s in texts} if NEGATIVES[name].writes else None
        found = compared(name, seen(texts, best, written=written))
        assert [len(each.branches) for each in found][:1] == [2]
