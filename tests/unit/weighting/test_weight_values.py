"""Strategies for weights on hand-worked cases, and how their weights reach what a stage iterates."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from apo_lightning.batching import examples
from apo_lightning.errors import DataError
from apo_lightning.experiment.steps.weigh import _checked, _rows
from apo_lightning.types import PREFERRED, Study, Trajectory
from apo_lightning.weighting import WEIGHTS
from tests.helpers.evidence import study
from tests.helpers.weights import seen

REFUSAL = "I am sorry, I cannot interpret medical images."
NO, EDEMA, BOTH = "No edema. No effusion.", "Edema. No effusion.", "Edema. Effusion."


def run(name, own, **settings):
    return WEIGHTS[name](**settings)(own)


def teachers_of(found):
    """The weights that all studies have."""
    assert len({tuple(own.items()) for own in found.values()}) == 1
    return next(iter(found.values()))


# by accuracy


def judged(**more):
    """a is right 4 of 4, b 3 of 4, c 2 of 4 (it refuses one study)."""
    texts = {"v1": {"a": BOTH, "b": BOTH, "c": BOTH}, "v2": {"a": NO, "b": EDEMA, "c": REFUSAL}, "s": {"a": NO}}
    return seen(texts, [study("v1", 1, 1), study("v2", 0, 0)], **more)


def test_by_accuracy_on_validation_labels():
    assert teachers_of(run("val_accuracy", judged())) == {"a": 1.0, "b": 0.75, "c": 0.5}
    assert teachers_of(run("val_accuracy", judged(), power=2)) == {"a": 1.0, "b": 0.5625, "c": 0.25}
    assert teachers_of(run("val_accuracy", judged(), power=0)) == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_accuracy_counts_what_teachers_are_judged_by():
    """On edema b is right 1 of 2."""
    assert teachers_of(run("val_accuracy", judged(scored=["edema"])))["b"] == 0.5


# by likelihood


def test_by_likelihood_of_validation_texts():
    """Means -1, -1 + ln 2 and, of a single text, -1 + ln 3: shares 1, 2, 3 of 6, times three teachers."""
    near, far = math.log(2), math.log(3)
    scores = {"v1": {"a": -0.5, "b": -1 + near}, "v2": {"a": -1.5, "b": -1 + near, "c": -1 + far}}
    own = seen({"v1": {}, "v2": {}}, score=lambda: scores)
    assert teachers_of(run("val_likelihood", own)) == pytest.approx({"a": 0.5, "b": 1.0, "c": 1.5})
    assert teachers_of(run("val_likelihood", own, temperature=0.5)) == pytest.approx(
        {"a": 3 / 14, "b": 12 / 14, "c": 27 / 14}
    )


def test_whoever_has_nothing_to_score_weighs_0_and_very_unlikely_texts_do_not_run_over():
    own = seen({"v": {}}, score=lambda: {"v": {"a": -5000.0, "b": -5000.0}})
    assert teachers_of(run("val_likelihood", own)) == {"a": 1.0, "b": 1.0, "c": 0.0}


def test_no_text_to_score_is_an_error_that_says_what_to_do():
    with pytest.raises(DataError, match=r"none of a, b, c has one .* as uniform"):
        run("val_likelihood", seen({"v": {}}, score=dict))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_temperature_must_be_above_0(value):
    with pytest.raises(ValueError, match=f"temperature must be > 0, got {value}"):
        WEIGHTS["val_likelihood"](temperature=value)


# by agreement


def test_by_agreement_of_the_others():
    """v1: a-b agree on 1 of 2, a-c on 2, b-c on 1: a .75, b .5, c .75. v2: c refuses; a-b agree on 2: a 1, b 1.
    v3: a is alone, which tells nothing."""
    texts = {
        "v1": {"a": EDEMA, "b": BOTH, "c": "Edema is seen. No effusion."},
        "v2": {"a": NO, "b": NO, "c": REFUSAL},
        "v3": {"a": NO},
    }
    own = seen(texts, [study(name, 0, 0) for name in texts])
    assert teachers_of(run("agreement", own)) == {"a": 0.875, "b": 0.75, "c": 0.75}
    assert teachers_of(run("agreement", own, power=2)) == {"a": 0.875**2, "b": 0.5625, "c": 0.5625}


def test_sides_count_in_agreement():
    texts = {"v": {"a": "Left effusion.", "b": "Right effusion.", "c": "Bilateral effusion."}}
    assert teachers_of(run("agreement", seen(texts, [study("v", 0, 1)]))) == {"a": 0.5, "b": 0.5, "c": 1.0}


def test_whoever_never_spoke_beside_another_has_the_mean():
    texts = {"v1": {"a": NO, "b": NO}, "v2": {"a": NO, "b": EDEMA}, "v3": {"c": NO}}
    own = seen(texts, [study(name, 0, 0) for name in texts])
    assert teachers_of(run("agreement", own)) == {"a": 0.75, "b": 0.75, "c": 0.75}
    assert teachers_of(run("agreement", seen({"v": {"a": NO}}, [study("v", 0, 0)]))) == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_studies_that_do_not_validate_are_not_compared():
    texts = {"v": {"a": NO, "b": NO}, "s": {"a": NO, "b": BOTH}}
    assert teachers_of(run("agreement", seen(texts, [study("v", 0, 0)])))["a"] == 1.0


# by finding


def routed(said, **more):
    """Of "edema" teacher a is right 1 of 2, of "no edema" 1 of 1; b 1 of 1 and 1 of 2. Of "effusion" b 2 of 3."""
    truth = [study("v1", 1, 1), study("v2", 0, 1), study("v3", 0, 0), study("v4", 1, 1)]
    texts = {
        "v1": {"a": "Edema.", "b": "No edema. Effusion."},
        "v2": {"a": "Edema.", "b": REFUSAL},
        "v3": {"a": "No edema.", "b": "No edema. Effusion."},
        "v4": {"b": BOTH},
        "s": said,
    }
    return seen(texts, truth, teachers="ab", **more)


@pytest.mark.parametrize(
    ("said", "a", "b"),
    [
        ({"a": "Edema.", "b": "Edema."}, 2 / 4, 2 / 3),
        ({"a": "No edema.", "b": "No edema."}, 2 / 3, 2 / 4),
        ({"a": "Edema.", "b": BOTH}, 2 / 4, (2 / 3 + 3 / 5) / 2),
        ({"a": REFUSAL, "b": "The image shows a chest."}, 0.5, 0.5),  # the value of a guess
        ({}, 0.5, 0.5),
    ],
)
def test_by_finding_whoever_is_reliable_in_what_it_says_here(said, a, b):
    assert run("router", routed(said))["s"] == pytest.approx({"a": a, "b": b})
    assert run("router", routed(said), power=3)["s"] == pytest.approx({"a": a**3, "b": b**3})


def test_the_router_counts_what_teachers_are_judged_by():
    found = run("router", routed({"a": "Edema.", "b": BOTH}, scored=["pleural_effusion"]))["s"]
    assert found == pytest.approx({"a": 0.5, "b": 3 / 5})


def test_courses_are_weighed_by_what_is_told_of_them():
    """Smoothed over three: a is right on "worsening" 1 of 1, b on "stable" 0 of 1; of "improving" nothing is known."""
    truth = [Study("v", "v", "val", (), {}, progression={"edema": "worsening"})]
    texts = {"v": {"a": "Edema is worse.", "b": "Edema is stable."}, "s": {"a": "Edema has improved."}}
    found = run("router", seen(texts, truth, teachers="ab"))
    assert found["v"] == pytest.approx({"a": 2 / 4, "b": 1 / 4}) and found["s"] == pytest.approx(
        {"a": 1 / 3, "b": 1 / 3}
    )


@pytest.mark.parametrize("name", ["val_accuracy", "agreement", "router"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_power_must_be_a_number_of_at_least_0(name, value):
    with pytest.raises(ValueError, match=f"power must be >= 0, got {value}"):
        WEIGHTS[name](power=value)


# what the step makes of it


def test_whoever_weighs_0_in_the_file_weighs_0():
    assert _checked({"s": {"a": 2.0, "b": 3.0}}, {"a": 0.0, "b": 0.5}) == {"s": {"a": 0.0, "b": 3.0}}


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), 1e31])
def test_a_weight_that_is_none_is_named(value):
    with pytest.raises(DataError, match=r"pool\.weights: the weight of 'b' on study 's' must be a number from 0 to"):
        _checked({"s": {"a": 1.0, "b": value}}, {"a": 1.0, "b": 1.0})


def test_weights_that_leave_nobody_are_refused():
    with pytest.raises(DataError, match="every teacher weighs 0 on all 1 studies"):
        _checked({"s": {"a": 0.0}}, {"a": 1.0})


def test_the_file_has_what_is_taught_and_what_is_rejected():
    made = WEIGHTS["val_accuracy"](rejected="inverse")
    [row] = _rows({"s": {"a": 0.5, "b": 0.0}}, made)
    assert row == {"study": "s", "taught": {"a": 0.5, "b": 0.0}, "rejected": {"a": 2.0, "b": 0.0}}


def heard():
    return {s: {n: Trajectory(s, n, text) for n, text in (("a", NO), ("b", BOTH))} for s in ("s", "t")}


def weights_of(example):
    return {branch.source: branch.weight for branch in example.branches}


def test_branches_have_the_weights_of_their_study():
    studies, plain, own = [study("s", 1, 1), study("t", 1, 1)], {"a": 1.0, "b": 1.0}, {"s": {"a": 0.25, "b": 0.0}}
    taught = examples.spd_examples(studies, heard(), plain, by_study=own)
    assert [weights_of(each) for each in taught] == [{"a": 0.25, "b": 0.0}, plain]
    compared = examples.preference_examples(studies, heard(), plain, {"s": EDEMA, "t": EDEMA}, by_study=own)
    assert weights_of(compared[0]) == {PREFERRED: 1.0, "a": 0.25, "b": 0.0}


def test_a_study_on_which_all_weigh_0_teaches_nothing_and_is_counted():
    counts: Counter[str] = Counter()
    nobody = {"s": {"a": 0.0, "b": 0.0}}
    found = examples.spd_examples([study("s", 1, 1)], heard(), {"a": 1.0, "b": 1.0}, by_study=nobody, counts=counts)
    assert found == [] and counts["studies_without_teacher"] == 1
