"""What every registered strategy for t+ keeps. New ones are tested because they are registered; one with a setting that
has no default gives a classmethod ``example()`` that says with which value to try it.
"""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.positives import DEFAULT, POSITIVES
from apo_lightning.positives.base import Evidence, Strategy
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import by_study
from apo_lightning.teachers.pool import collect
from apo_lightning.types import Answer, Study
from tests.helpers.evidence import evidence, never, permuted, settings, study

each_strategy = pytest.mark.parametrize("name", sorted(POSITIVES))
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
}
"""Teacher a is right on all of validation, b on 5 of 8, c on 4 of 8 (a refusal is wrong twice)."""


def writing(asked: list[str]):
    def write(shown=None):
        return {name: [Answer(f"Edema in {name}."), Answer("No edema.")] for name in shown or asked}

    return write


def seen(name: str, **changes) -> Evidence:
    """The texts above; a student that writes only for strategies that say so."""
    asked = changes.pop("asked", [s for s in SAID if s.startswith("s")])
    write = writing(asked) if POSITIVES[name].writes else never
    return evidence(SAID, changes.pop("labelled", VALIDATION), asked=asked, write=write, **changes)


def run(name: str, given: Evidence):
    return POSITIVES[name](**settings(name))(given)


def test_the_default_is_the_papers_strategy() -> None:
    assert DEFAULT == "student" and POSITIVES[DEFAULT].writes


@each_strategy
def test_is_a_frozen_dataclass_that_says_what_it_does(name: str) -> None:
    made = POSITIVES[name](**settings(name))
    assert isinstance(made, Strategy) and len(POSITIVES[name].__doc__ or "") > 20
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.anything = 1
    assert {"writes", "drawn", "uses_labels", "courses"}.isdisjoint(field.name for field in dataclasses.fields(made))


@each_strategy
def test_answers_what_is_asked_and_a_teachers_text_is_word_for_word(name: str) -> None:
    given = seen(name)
    picked = run(name, given)
    assert picked and set(picked) <= set(given.asked)
    for study_id, found in picked.items():
        assert found.text.strip()
        assert found.teacher is None or found.text == SAID[study_id][found.teacher]
    assert {"s1", "s2", "s3"} <= set(picked)


@each_strategy
def test_refusals_and_texts_that_state_nothing_are_nobodys_t_plus(name: str) -> None:
    if not POSITIVES[name].writes:
        picked = run(name, seen(name))
        assert "s4" not in picked and REFUSAL not in {found.text for found in picked.values()}


@each_strategy
def test_the_same_again_and_whatever_else_is_asked(name: str) -> None:
    whole = run(name, seen(name))
    assert run(name, seen(name)) == whole
    for study_id in whole:
        assert run(name, seen(name, asked=[study_id])) == {study_id: whole[study_id]}


FOUR = ("edema", "pleural_effusion", "pneumonia", "pneumothorax")


def says(word: str, answers: str) -> str:
    """A text in a teacher's own words: ``word`` before a name where the answer is 1, "no" before it where it is 0."""
    return " ".join(
        f"{word if said == '1' else 'No'} {name.replace('_', ' ')}." for name, said in zip(FOUR, answers, strict=True)
    )


@pytest.fixture(scope="module")
def tieless() -> Evidence:
    """No two teachers are equally reliable in anything (1: 4/5, 3/4, 2/3; 0: 1/2, 1/3, 1/4), and none agrees as well
    with the others as another does (in quarters 5, 4, 3 on s1 and 3, 5, 4 on s2)."""
    said = {
        "v1": "1111 1111 1111",
        "v2": "1111 1111 0000",
        "v3": "1111 0000 0000",
        "s1": "1111 1110 0011",
        "s2": "0011 1111 1110",
    }
    words = {"a": "Severe", "b": "Mild", "c": "Definite"}
    texts = {
        s: {n: says(words[n], own) for n, own in zip("abc", each.split(), strict=True)} for s, each in said.items()
    }
    labelled = [study(f"v{i}", 1, 1, 1, 1, findings=FOUR) for i in (1, 2, 3)]
    return evidence(texts, labelled, findings=FOUR, write=writing(["s1", "s2"]))


@each_strategy
@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_the_order_of_teachers_changes_nothing_without_a_tie(
    name: str, order: tuple[str, ...], tieless: Evidence
) -> None:
    assert run(name, permuted(tieless, order)) == run(name, tieless)


def test_who_is_picked_where_there_is_no_tie(tieless: Evidence) -> None:
    picked = {name: {s: found.teacher for s, found in run(name, tieless).items()} for name in POSITIVES}
    assert picked["router"] == picked["most_agreed"] == {"s1": "a", "s2": "b"}
    assert picked["best_teacher"] == {"s1": "a", "s2": "a"}
    assert run("fusion", tieless)["s1"].text == says("Severe", "1111")


@each_strategy
def test_what_it_says_of_labels_holds(name: str) -> None:
    """Without ``uses_labels`` it finds as many t+ where there are none."""
    if not POSITIVES[name].uses_labels:
        assert set(run(name, seen(name, labelled=[]))) == set(run(name, seen(name)))


@each_strategy
def test_what_it_says_of_courses_holds(name: str) -> None:
    if not POSITIVES[name].courses:
        return
    course = [Study("v", "v", "val", (), {}, progression={"edema": "worsening"})]
    texts = {"v": {"a": "Edema is worse."}, "s": {"a": "Edema has increased."}}
    write = writing(["s"]) if POSITIVES[name].writes else never
    picked = run(name, evidence(texts, course, write=write))
    assert picked["s"].teacher is None or picked["s"].text == "Edema has increased."


@pytest.fixture(scope="module")
def phantoms() -> Evidence:
    """Forty studies with three simulated teachers, one of whom refuses at times; half of them validate."""
    studies = [
        Study(c.id, str(c.patient), "val", (), {f: float(f in c.present) for f in FINDINGS}, c.present)
        for c in cases(seed=5, count=40)
    ]
    rates = {"default": 0.75}
    styles = {
        "a": {},
        "b": {"positive": 3, "negative": 3, "opener": 4},
        "c": {"positive": 6, "names": 1, "refusal": 0.4},
    }
    made = {n: TEACHERS["simulated"](n, sensitivity=rates, specificity=rates, **own) for n, own in styles.items()}
    said = by_study(collect(made, {"val": studies}))
    texts = {each.id: {n: t.text for n, t in said[each.id].items()} for each in studies}
    return evidence(texts, studies[:20], findings=FINDINGS, asked=[s.id for s in studies])


@each_strategy
def test_every_phantom_study_has_a_t_plus_that_states_every_finding(name: str, phantoms: Evidence) -> None:
    if POSITIVES[name].writes:
        return
    picked = run(name, phantoms)
    assert list(picked) == list(phantoms.asked)
    assert all(set(phantoms.read(found.text)) == set(FINDINGS) for found in picked.values())
