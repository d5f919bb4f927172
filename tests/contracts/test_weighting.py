"""What every registered strategy for weights keeps. New ones are tested because they are registered; one with a setting
that has no default gives a classmethod ``example()`` that says with which value to try it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest

from apo_lightning.types import Study
from apo_lightning.weighting import DEFAULT, WEIGHTS
from apo_lightning.weighting.base import Seen, Weighting
from tests.helpers.evidence import study
from tests.helpers.weights import seen, settings, unasked

each_strategy = pytest.mark.parametrize("name", sorted(WEIGHTS))
REFUSAL = "I am sorry, I cannot interpret medical images."
VALIDATION = [study("v1", 1, 1), study("v2", 1, 0), study("v3", 0, 1), study("v4", 0, 0)]
SAID = {
    "v1": {"a": "Edema. Effusion.", "b": "Edema. No effusion.", "c": "No edema. Effusion."},
    "v2": {"a": "Edema. No effusion.", "b": "Edema. No effusion.", "c": "No edema. No effusion."},
    "v3": {"a": "No edema. Effusion.", "b": "Edema. No effusion.", "c": "No edema. Effusion."},
    "v4": {"a": "No edema. No effusion.", "b": "No edema. No effusion.", "c": REFUSAL},
    "s1": {"a": "Edema is present. No effusion.", "b": "There is edema. No pleural effusion.", "c": "Edema, effusion."},
    "s2": {"a": REFUSAL, "b": "No edema, no effusion.", "c": "No edema. An effusion is seen."},
    "s3": {"c": "Effusion is present. Edema as well."},
    "s4": {"a": REFUSAL, "b": "", "c": "The image shows a chest."},
    "s5": {},
}
SCORES = {"v1": {"a": -1.5, "b": -2.0, "c": -1.0}, "v2": {"a": -2.5, "b": -2.25}}


def given(name: str, **changes) -> Seen:
    """The texts above; a student that scores only for strategies that say so."""
    score = (lambda: SCORES) if WEIGHTS[name].scores else unasked
    return seen(changes.pop("texts", SAID), changes.pop("labelled", VALIDATION), score=score, **changes)


def run(name: str, own: Seen):
    return WEIGHTS[name](**settings(name))(own)


def test_the_default_is_what_the_file_says() -> None:
    assert DEFAULT == "user"
    own = given("user", given={"a": 2.0, "b": 0.5, "c": 0.0})
    assert run("user", own) == {name: {"a": 2.0, "b": 0.5, "c": 0.0} for name in SAID}


@each_strategy
def test_is_a_frozen_dataclass_that_says_its_equation(name: str) -> None:
    made = WEIGHTS[name](**settings(name))
    assert isinstance(made, Weighting) and len(WEIGHTS[name].__doc__ or "") > 20
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.anything = 1
    flags = {"uses_labels", "courses", "scores", "differs"}
    assert flags.isdisjoint(field.name for field in dataclasses.fields(made))


@each_strategy
def test_every_teacher_has_a_weight_on_every_study_that_is_asked_for(name: str) -> None:
    found = run(name, given(name))
    assert list(found) == list(SAID)
    for own in found.values():
        assert list(own) == ["a", "b", "c"]
        assert all(isinstance(value, float) and math.isfinite(value) and value >= 0 for value in own.values())
    assert any(value > 0 for own in found.values() for value in own.values())


@each_strategy
def test_the_same_again_and_whatever_else_is_asked(name: str) -> None:
    whole = run(name, given(name))
    assert run(name, given(name)) == whole
    for one in SAID:
        assert run(name, given(name, asked=[one])) == {one: whole[one]}


@each_strategy
@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_the_order_of_teachers_changes_nothing(name: str, order: tuple[str, ...]) -> None:
    whole, turned = run(name, given(name)), run(name, given(name, teachers=order))
    for one, own in turned.items():
        assert list(own) == list(order) and own == pytest.approx(whole[one], abs=1e-12)


@each_strategy
def test_what_it_says_of_labels_holds(name: str) -> None:
    """Without ``uses_labels`` other labels of the same studies change nothing."""
    turned = [dataclasses.replace(s, findings={k: 1 - v for k, v in s.findings.items()}) for s in VALIDATION]
    same = run(name, given(name, labelled=turned)) == run(name, given(name))
    assert same is not WEIGHTS[name].uses_labels


@each_strategy
def test_what_it_says_of_differences_holds(name: str) -> None:
    found = run(name, given(name, given={"a": 1.0, "b": 2.0, "c": 3.0}))
    unequal = any(len(set(own.values())) > 1 for own in found.values())
    assert unequal is WEIGHTS[name].differs


@each_strategy
def test_what_it_says_of_courses_holds(name: str) -> None:
    if not WEIGHTS[name].courses:
        return
    course = [Study("v", "v", "val", (), {}, progression={"edema": "worsening"})]
    texts = {"v": {"a": "Edema is worse.", "b": "Edema is stable."}, "s": {"a": "Edema has increased."}}
    score = (lambda: {"v": {"a": -1.0, "b": -2.0}}) if WEIGHTS[name].scores else unasked
    found = run(name, seen(texts, course, teachers="ab", score=score))
    assert found["s"]["a"] >= found["s"]["b"]


@each_strategy
def test_a_teacher_that_never_spoke_is_no_error(name: str) -> None:
    found = run(name, given(name, teachers=["a", "b", "c", "nobody"]))
    assert all(math.isfinite(own["nobody"]) for own in found.values())


@each_strategy
@pytest.mark.parametrize(("rejected", "wanted"), [("same", 4.0), ("uniform", 1.0), ("inverse", 0.25)])
def test_what_t_plus_is_preferred_to_may_weigh_otherwise(name: str, rejected: str, wanted: float) -> None:
    made = WEIGHTS[name](rejected=rejected, **settings(name))
    assert made.against(4.0) == wanted and made.against(0.0) == 0.0
    assert made.unequal is (WEIGHTS[name].differs and rejected != "uniform")


@each_strategy
def test_another_word_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="rejected must be one of same, uniform, inverse, got 'none'"):
        WEIGHTS[name](rejected="none", **settings(name))
