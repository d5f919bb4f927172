"""Every strategy for t+ on cases worked out by hand."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from apo_lightning.batching import examples
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import preferred
from apo_lightning.findings import CANONICAL, CHEXPERT, NIH
from apo_lightning.metrics.teachers import best_teacher
from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Picked
from apo_lightning.positives.best_teacher import ranking
from apo_lightning.positives.majority import plainly, report, vote
from apo_lightning.positives.reliability import Reliability
from apo_lightning.text.labeler import parse
from apo_lightning.text.thinking import ThinkingPolicy
from apo_lightning.types import PREFERRED, Answer, Study, Trajectory
from tests.helpers.evidence import evidence, permuted, study

REFUSAL = "I am sorry, I cannot interpret medical images."
NO, EDEMA, BOTH = "No edema. No effusion.", "Edema. No effusion.", "Edema. Effusion."


def run(name, seen, **settings):
    return POSITIVES[name](**settings)(seen)


# student


def test_the_students_text_is_the_one_that_agrees_with_its_others():
    answers = {
        "s": [Answer(BOTH), Answer(NO, cut=True), Answer("No effusion. No edema.")],
        "t": [Answer("Fine.", True)],
    }
    found = run("student", evidence({}, write=lambda shown=None: answers))
    assert found["s"] == Picked(NO, None, True, (BOTH, NO, "No effusion. No edema."))
    assert found["t"] == Picked("Fine.", None, True)


def test_the_students_statements_in_the_words_of_the_vote():
    """Sides and grades go, the order is the set's, and an end that was cut off is no matter any more."""
    answers = {
        "s": [Answer("Mild left effusion. No edema is seen.", cut=True)],
        "t": [Answer("Severe edema.")],
        "u": [Answer("The image shows a chest.", cut=True)],
    }
    found = run("student_plain", evidence({}, write=lambda shown=None: answers))
    assert found["s"] == Picked("There is no edema. There is pleural effusion.")
    assert found["t"] == Picked("There is edema.")
    assert found["u"] == Picked("The image shows a chest.", cut=True)


# best teacher


def best_evidence(**said):
    """On validation a is right 4 of 4, b 3 of 4, c 2 of 4 (it refuses one study and is right on the other)."""
    texts = {"v1": {"a": BOTH, "b": BOTH, "c": BOTH}, "v2": {"a": NO, "b": EDEMA, "c": REFUSAL}, "s": said}
    return evidence(texts, [study("v1", 1, 1), study("v2", 0, 0)], teachers=["c", "b", "a"])


def test_the_best_teacher_is_followed_by_the_next_best():
    assert ranking(best_evidence()) == ["a", "b", "c"]
    assert run("best_teacher", best_evidence(c=NO, b=EDEMA, a=BOTH))["s"] == Picked(BOTH, "a")
    assert run("best_teacher", best_evidence(c=NO, b=EDEMA, a=REFUSAL))["s"] == Picked(EDEMA, "b")
    assert run("best_teacher", best_evidence(c=NO, a="The image shows a chest."))["s"] == Picked(NO, "c")
    assert run("best_teacher", best_evidence(c="", b=REFUSAL)) == {}


def test_the_best_teacher_is_that_of_best_on_val():
    seen = best_evidence()
    said = [Trajectory(s, n, text) for s, own in seen.texts.items() for n, text in own.items()]
    assert best_teacher(said, seen.labelled, seen.teachers, seen.scored) == ranking(seen)[0]


def test_of_equal_teachers_the_first_is_the_best():
    seen = evidence({"v": {"a": EDEMA, "b": BOTH}, "s": {"a": NO, "b": EDEMA}}, [study("v", 1, float("nan"))])
    assert ranking(seen) == ["a", "b"] and run("best_teacher", seen)["s"].teacher == "a"
    assert run("best_teacher", permuted(seen, ["b", "a"]))["s"].teacher == "b"


def test_teachers_are_judged_by_what_is_scored():
    seen = evidence({"v": {"a": EDEMA, "b": "No edema. Effusion."}, "s": {"a": NO, "b": BOTH}}, [study("v", 1, 1)])
    only = evidence(seen.texts, seen.labelled, scored=["pleural_effusion"])
    assert ranking(seen) == ["a", "b"] and ranking(only) == ["b", "a"]


# most agreed


def test_the_most_agreed_text():
    """Agreements: a-b 1/2, a-c 1, b-c 1/2 on what both state; a 1.5, b 1, c 1.5; the refusal has no part."""
    texts = {"a": EDEMA, "b": BOTH, "c": "Edema is seen. No effusion.", "d": REFUSAL, "e": ""}
    assert run("most_agreed", evidence({"s": texts}))["s"] == Picked(EDEMA, "a")  # a tie of a and c: the first
    assert run("most_agreed", permuted(evidence({"s": texts}), list("edcba")))["s"].teacher == "c"
    assert run("most_agreed", evidence({"s": {"d": REFUSAL, "b": BOTH}}))["s"] == Picked(BOTH, "b")
    assert run("most_agreed", evidence({"s": {"d": REFUSAL, "e": " "}})) == {}


def test_sides_count_in_agreement():
    """Left and right conflict; "bilateral" and an unnamed side conflict with neither, so they agree with more."""
    texts = {"a": "Left effusion.", "b": "Right effusion.", "c": "Bilateral effusion."}
    assert run("most_agreed", evidence({"s": texts}))["s"].teacher == "c"


# reliability and router


def routing(smoothing=1.0, **said):
    """Of "edema" teacher a is right 1 of 2, of "no edema" 1 of 1; b 1 of 1 and 1 of 2. Effusion: a never speaks of it,
    b always says yes: 2 of 3."""
    truth = [study("v1", 1, 1), study("v2", 0, 1), study("v3", 0, 0)]
    texts = {
        "v1": {"a": "Edema.", "b": "No edema. Effusion."},
        "v2": {"a": "Edema.", "b": REFUSAL},
        "v3": {"a": "No edema.", "b": "No edema. Effusion."},
        "s": said,
    }
    seen = evidence({**texts, "v4": {"b": BOTH}}, [*truth, study("v4", 1, 1)])
    return seen, Reliability(seen, smoothing)


def test_predictive_values_after_laplace():
    _, reliable = routing()
    assert reliable("a", "edema", 1.0) == (1 + 1) / (2 + 2)
    assert reliable("a", "edema", 0.0) == (1 + 1) / (1 + 2)
    assert reliable("b", "edema", 1.0) == (1 + 1) / (1 + 2)
    assert reliable("b", "edema", 0.0) == (1 + 1) / (2 + 2)
    assert reliable("b", "pleural_effusion", 1.0) == (2 + 1) / (3 + 2)
    assert reliable("a", "pleural_effusion", 1.0) == reliable("nobody", "edema", 0.0) == 0.5
    assert routing(0.5)[1]("a", "edema", 0.0) == 1.5 / 2


def test_labels_that_are_unknown_count_for_nothing():
    seen = evidence({"v": {"a": "Edema."}}, [study("v", float("nan"), 1)])
    assert Reliability(seen, 1.0)("a", "edema", 1.0) == 0.5


@pytest.mark.parametrize(
    ("said", "teacher"),
    [
        ({"a": "Edema.", "b": "Edema."}, "b"),  # 1/2 against 2/3
        ({"a": "No edema.", "b": "No edema."}, "a"),  # 2/3 against 1/2
        ({"a": "No edema.", "b": BOTH}, "a"),  # 2/3 against (2/3 + 3/5) / 2
        ({"a": "Edema.", "b": "No edema. Effusion."}, "b"),  # 1/2 against (1/2 + 3/5) / 2
        ({"a": "No edema.", "b": "Edema."}, "a"),  # 2/3 both: the first
        ({"a": REFUSAL, "b": "No edema."}, "b"),
        ({"a": "", "b": "The image shows a chest."}, None),
        ({"b": "No edema."}, "b"),
    ],
)
def test_the_router_takes_whom_validation_trusts_most(said, teacher):
    found = run("router", routing(**said)[0])
    assert found == ({"s": Picked(said[teacher], teacher)} if teacher else {})


def test_a_tie_of_the_router_goes_to_the_first_teacher_in_either_order():
    seen, _ = routing(a="No edema.", b="Edema.")
    assert run("router", permuted(seen, ["b", "a"]))["s"].teacher == "b"


def test_the_router_counts_what_is_scored():
    seen, _ = routing(a="No edema.", b=BOTH)
    only = evidence(seen.texts, seen.labelled, scored=["pleural_effusion"])
    assert run("router", only)["s"].teacher == "b"  # a says nothing that counts


def test_courses_are_routed_too():
    """Each class its own reliability, smoothed over three: a is right on "worsening" 1 of 1, (1+1)/(1+3); b 0 of 1."""
    truth = [Study("v", "v", "val", (), {}, progression={"edema": "worsening"})]
    texts = {
        "v": {"a": "Edema is worse.", "b": "Edema is stable."},
        "s": {"b": "Edema is stable.", "a": "Edema is worse."},
    }
    seen = evidence(texts, truth, teachers=["b", "a"])
    reliable = Reliability(seen, 1.0)
    assert (reliable("a", "edema", "worsening"), reliable("b", "edema", "stable")) == (2 / 4, 1 / 4)
    assert reliable("b", "edema", "improving") == 1 / 3
    assert run("router", seen)["s"] == Picked("Edema is worse.", "a") == run("best_teacher", seen)["s"]


@pytest.mark.parametrize("name", ["router", "finding_router", "fusion"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_smoothing_must_be_above_0(name, value):
    with pytest.raises(ValueError, match=f"smoothing must be > 0, got {value}"):
        POSITIVES[name](smoothing=value)


# majority


def test_the_vote_in_plain_words():
    texts = {"a": BOTH, "b": EDEMA, "c": "Edema. Effusion.", "d": REFUSAL}
    assert run("majority", evidence({"s": texts}))["s"] == Picked("There is edema. There is pleural effusion.")
    texts = {"a": BOTH, "b": NO}  # both tie: absent
    assert run("majority", evidence({"s": texts}))["s"].text == "There is no edema. There is no pleural effusion."
    assert run("majority", evidence({"s": {"a": "Edema."}}))["s"].text == "There is edema."  # nobody on effusion
    assert run("majority", evidence({"s": {"a": REFUSAL, "b": ""}})) == {}


@pytest.mark.parametrize("known", [CANONICAL, CHEXPERT, NIH, ("edema", "left_foot", "covid_19")])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_plain_words_are_read_as_they_are_meant(known, value):
    voted = {name: value for name in known if name != "no_finding"}
    assert evidence({}, findings=known).reads_as(plainly(voted), voted)
    for name in voted:
        assert evidence({}, findings=known).reads_as(plainly({name: value}), {name: value})


def test_a_name_within_another_does_not_take_a_vote_back():
    known = ("bacterial_pneumonia", "pneumonia", "viral_pneumonia")
    voted = {"bacterial_pneumonia": 1.0, "pneumonia": 1.0, "viral_pneumonia": 0.0}
    seen = evidence({}, findings=known)
    assert not seen.reads_as(plainly(voted), voted)
    assert report(seen, voted) == "There is no viral pneumonia. There is bacterial pneumonia. There is pneumonia."
    assert seen.reads_as(report(seen, voted), voted)


def test_no_finding_is_not_voted_on():
    seen = evidence({"s": {"a": "Normal chest."}}, findings=("edema", "no_finding"))
    assert vote(seen, "s") == {"edema": 0.0}
    assert parse(run("majority", seen)["s"].text, ["edema", "no_finding"]) == {"edema": 0.0, "no_finding": 1.0}


# fusion

THREE = ("edema", "pleural_effusion", "pneumonia")


def fused(texts, labelled=(), findings=THREE, **more):
    seen = evidence({"s": texts, **more}, labelled, asked=["s"], findings=findings)
    return run("fusion", seen)["s"].text


def test_fusion_tells_the_vote_in_the_teachers_sentences():
    texts = {
        "a": "Pulmonary edema is seen. No effusion. Pneumonia.",
        "b": "Edema. There is no effusion. No pneumonia.",
        "c": "No edema. Pleural fluid. Pneumonia is absent.",
    }
    assert fused(texts) == "Pulmonary edema is seen. No effusion. No pneumonia."


def test_a_sentence_of_several_findings_is_told_once_and_one_that_contradicts_a_vote_never():
    texts = {
        "a": "Edema and pneumonia.",
        "b": "No effusion or pneumonia. There is edema.",
        "c": "Edema, but neither effusion nor pneumonia.",
    }
    assert fused(texts) == "There is edema. No effusion or pneumonia."
    assert fused({"c": texts["c"], "b": texts["b"], "a": texts["a"]}) == texts["c"]


def test_the_most_reliable_teacher_lends_the_sentence():
    """Of "edema" b is right 1 of 1, a 0 of 1."""
    texts = {"a": "Edema.", "b": "Edema is present."}
    truth = [study("v1", 1, 0, 0, findings=THREE), study("v2", 0, 0, 0, findings=THREE)]
    more = {"v1": {"b": "Edema."}, "v2": {"a": "Edema."}}
    assert fused(texts) == "Edema." and fused(texts, truth, **more) == "Edema is present."


def test_a_sentence_that_is_taken_back_is_not_lent():
    texts = {"a": "Edema? Edema is likely. On review there is no edema.", "b": "Mild edema.", "c": "Edema is seen."}
    assert fused(texts) == "Mild edema."


def test_where_no_sentence_will_do_the_vote_is_said_plainly():
    texts = {"a": "Edema without effusion.", "b": "Edema with effusion.", "c": "No edema but effusion."}
    assert fused(texts) == "Edema with effusion."
    texts = {"a": "Edema with pneumonia.", "b": "Edema with effusion.", "c": "No pneumonia or effusion."}
    assert fused(texts) == "There is edema. No pneumonia or effusion."  # each sentence on edema says too much


def test_normality_is_lent_where_all_is_denied():
    assert fused({"a": "Normal chest.", "b": "No edema."}) == "Normal chest."
    assert fused({"a": "Normal chest.", "b": "Edema.", "c": "Edema is seen."}).startswith("Edema. ")


@pytest.mark.parametrize(
    "text",
    [
        '{"edema": "present", "pleural effusion": "absent"}',
        "| Finding | Present |\n|---|---|\n| Edema | yes |\n| Effusion | no |",
        "- Edema: yes\n- Effusion: no",
        "FINDINGS:\n1. Edema.\n2. No effusion.",
        "<think>No edema?</think> Edema; no effusion",
    ],
)
def test_whatever_the_form_fusion_reads_as_the_vote_on_one_line(text):
    seen = evidence({"s": {"a": text}})
    found = run("fusion", seen)["s"].text
    assert seen.reads_as(found, {"edema": 1.0, "pleural_effusion": 0.0}) and "\n" not in found and "think" not in found


def test_findings_that_nobody_states_are_left_out():
    assert fused({"a": "Edema.", "b": REFUSAL}) == "Edema."


# router by finding


def test_each_finding_is_told_by_whoever_is_most_reliable_in_saying_so():
    """Of "edema" a is right 1 of 2 (2/4), of "no edema" 1 of 1 (2/3); b 1 of 1 (2/3) and 1 of 2 (2/4)."""
    found = run("finding_router", routing(a="No edema seen.", b="There is edema. Effusion.")[0])["s"]
    assert found == Picked("No edema seen. Effusion.")  # 2/3 both: the first teacher
    found = run("finding_router", routing(a="Edema, though mild.", b="No edema. Effusion.")[0])["s"]
    assert found == Picked("Edema, though mild. Effusion.")  # 2/4 both
    assert run("finding_router", routing(b="Edema.")[0])["s"] == Picked("Edema.")
    assert run("finding_router", routing(a=REFUSAL, b="")[0]) == {}


def test_one_reliable_teacher_overrules_many_that_are_not():
    """On validation a is right on edema, b and c wrong; their vote says edema, and the router of findings does not."""
    texts = {
        "v": {"a": "No edema.", "b": "Edema.", "c": "Edema."},
        "s": {"a": "No edema.", "b": "Edema.", "c": "Edema."},
    }
    seen = evidence(texts, [study("v", 0, 0)])
    assert run("majority", seen)["s"].text == "There is edema."
    assert run("finding_router", seen)["s"].text == "No edema."


def test_where_no_sentence_of_the_router_will_do_it_is_said_plainly():
    """What a says of effusion and b of edema lie in sentences that say what was not chosen."""
    truth = [study("v1", 1, 0), study("v2", 1, 0)]
    texts = {
        "v1": {"a": "No effusion.", "b": "Edema."},
        "v2": {"a": "No effusion. No edema.", "b": "Edema. Effusion."},
        "s": {"a": "Neither edema nor effusion.", "b": "Edema with effusion."},
    }
    found = run("finding_router", evidence(texts, truth))["s"]
    assert found == Picked("There is edema. There is no pleural effusion.", plain=True)


# consensus of the student's own samples


def test_consensus_is_the_first_sample_that_states_their_vote():
    answers = {
        "s": [Answer(BOTH), Answer("Edema. Effusion is absent.", cut=True), Answer(EDEMA)],
        "t": [Answer(REFUSAL)],
    }
    found = run("consensus", evidence({}, write=lambda shown=None: answers))
    assert found == {
        "s": Picked("Edema. Effusion is absent.", cut=True, samples=(BOTH, "Edema. Effusion is absent.", EDEMA))
    }


def test_where_no_sample_states_the_vote_it_is_told_in_their_sentences():
    """Two of three each: edema, no effusion, pneumonia; no sample has all of them."""
    texts = (
        "Edema. No effusion. No pneumonia.",
        "Edema. Effusion. Pneumonia.",
        "No edema. Clear angles. No effusion. Pneumonia.",
    )
    answers = {"s": [Answer(text) for text in texts]}
    found = run("consensus", evidence({}, findings=THREE, write=lambda shown=None: answers))["s"]
    assert found == Picked("Edema. No effusion. Pneumonia.", samples=texts)


def test_consensus_wants_several_texts_of_a_study():
    own = arm("consensus")
    own.stages.self_distill.samples = 1
    with pytest.raises(ConfigError, match=r"'consensus' goes by several .*samples is 1\. Set it to 2 or more"):
        preferred.strategy(own)
    own.stages.self_distill.samples = 2
    assert preferred.strategy(own).drawn == 2


# the vote in the student's words


def retold(texts, *answers):
    shown = []

    def write(given=None):
        shown.append(given)
        return {name: [Answer(text) for text in answers] for name in given}

    return run("majority_retold", evidence({"s": texts}, write=write)), shown


def test_the_student_reads_the_vote_and_tells_it():
    found, shown = retold({"a": EDEMA, "b": BOTH, "c": EDEMA}, "Edema is seen; effusion is not. No effusion.")
    assert found == {"s": Picked("Edema is seen; effusion is not. No effusion.")}
    assert shown == [{"s": {"vote": EDEMA}}]  # in the teachers' words, of which it has read many


@pytest.mark.parametrize("wrong", [BOTH, "Edema.", REFUSAL, "", "Edema. No effusion. Pneumothorax?"])
def test_a_student_that_does_not_tell_the_vote_is_replaced_by_it(wrong):
    """Whatever it says of findings that the set does not label is its own affair."""
    found, _ = retold({"a": EDEMA}, wrong)
    plain = Picked("There is edema. There is no pleural effusion.", plain=True)
    assert found["s"] == (Picked(wrong) if wrong.startswith("Edema. No") else plain)


def test_of_several_texts_the_first_that_tells_the_vote():
    found, _ = retold({"a": EDEMA}, BOTH, "No effusion. Edema.", EDEMA)
    assert found["s"] == Picked("No effusion. Edema.", samples=(BOTH, "No effusion. Edema.", EDEMA))


def test_where_nobody_states_anything_the_student_is_not_asked():
    assert retold({"a": REFUSAL, "b": ""}, EDEMA) == ({}, [])


# thinking, negatives, and what is refused before training


def test_texts_are_read_through_the_thinking_policy():
    text = "<think>Edema.</think> Effusion."
    assert evidence({"s": {"a": text}}).said("s") == {"a": {"pleural_effusion": 1.0}}
    judged = evidence({"s": {"a": text}}, as_read=ThinkingPolicy(judged=True).as_read)
    assert judged.said("s") == {"a": {"edema": 1.0, "pleural_effusion": 1.0}}


def test_a_teachers_text_that_is_t_plus_is_no_negative_of_itself():
    """Nor is the same text by another teacher; a paraphrase stays one."""
    heard = {
        "s": {n: Trajectory("s", n, t) for n, t in {"a": EDEMA, "b": f"{EDEMA} ", "c": "No effusion. Edema."}.items()}
    }
    counts: Counter[str] = Counter()
    how = dict(drop_refusals=True, counts=counts)
    weights = dict.fromkeys("abc", 1.0)
    [example] = examples.preference_examples([study("s", 1, 0)], heard, weights, {"s": EDEMA}, drop_copies=True, **how)
    assert [branch.source for branch in example.branches] == [PREFERRED, "c"] and counts["copies"] == 2
    [kept] = examples.preference_examples([study("s", 1, 0)], heard, weights, {"s": EDEMA}, drop_copies=False, **how)
    assert [branch.source for branch in kept.branches] == [PREFERRED, "a", "b", "c"]


def arm(name: str, **more) -> SimpleNamespace:
    """As much of an arm's settings as the check looks at."""
    stages = SimpleNamespace(self_distill=SimpleNamespace(positive={"name": name, **more}))
    arms = {"x": SimpleNamespace(stages=["spd", "self_distill"]), "y": SimpleNamespace(stages=["spd"])}
    return SimpleNamespace(stages=stages, arms=arms, data={"name": "ms_cxr_t"}, evaluate=SimpleNamespace(findings=[]))


def data(*studies: Study) -> SimpleNamespace:
    return SimpleNamespace(studies=lambda split: list(studies), findings=("edema", "pleural_effusion"))


@pytest.mark.parametrize("name", sorted(POSITIVES))
def test_a_set_of_courses_is_refused_by_what_does_not_know_them(name):
    course = data(Study("v", "v", "val", (), {}, progression={"edema": "stable"}))
    preferred.require(arm(name), "y", course)  # which has no t+
    if POSITIVES[name].courses:
        preferred.require(arm(name), "x", course)
        return
    with pytest.raises(
        ConfigError, match=rf"positive '{name}' goes by which .* 'ms_cxr_t' .*: best_teacher, router, student"
    ):
        preferred.require(arm(name), "x", course)


@pytest.mark.parametrize("name", sorted(POSITIVES))
@pytest.mark.parametrize("studies", [(), (study("v", float("nan"), float("nan")),)])
def test_a_strategy_that_needs_labels_is_refused_without(name, studies):
    if not POSITIVES[name].uses_labels:
        preferred.require(arm(name), "x", data(*studies))
        return
    with pytest.raises(ConfigError, match=f"'{name}' compares teachers with the labels .* none of the {len(studies)}"):
        preferred.require(arm(name), "x", data(*studies))
    preferred.require(arm(name), "x", data(study("v", float("nan"), 0)))
