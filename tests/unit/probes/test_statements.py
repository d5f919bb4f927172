"""Likelihood of findings: a made-up student whose log-probs are known, and the real scorer beside a sum by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from apo_lightning.metrics.probes import of_statements
from apo_lightning.probes import run
from apo_lightning.probes.statements import AT_ONCE, Round, plan, probabilities
from apo_lightning.settings import EvaluateSettings
from apo_lightning.settings.probes import LikelihoodSettings
from apo_lightning.types import Example, Scores
from tests.helpers import tiny

FINDINGS = ("edema", "pleural_effusion")


class Knows:
    """A student that gives each statement the log-prob it is told, through the interface of a scorer."""

    def __init__(self, logps: Mapping[str, float]) -> None:
        self.logps, self.asked, self.passes = logps, [], 0

    def to(self, device: torch.device) -> None:
        """It is nowhere."""

    def score(self, batch: Any) -> Scores:
        self.passes += 1
        words = tiny.processor().tokenizer
        lengths = batch.branch_mask.sum(-1)
        said = [
            [words.decode(ids[:n]) for ids, n in zip(row, own, strict=True)]
            for row, own in zip(batch.branch_ids, lengths.tolist(), strict=True)
        ]
        self.asked.append(said[0])
        logps = torch.tensor([[self.logps.get(text, -50.0) for text in row] for row in said])
        return Scores(torch.zeros(batch.branch_ids.shape), logps, lengths)


class Shown:
    """As much of a data module as scoring asks of it."""

    def images(self, study: Any) -> list[Any]:
        return next(list(item[1]) for item in map(item_of, range(3)) if item[0].study.id == study.id)

    def transfer_batch_to_device(self, batch: Any, device: Any, place: int) -> Any:
        return batch


def item_of(place: int) -> Any:
    return tiny.item(place, {})


STUDIES = [item_of(place)[0].study for place in range(3)]


def collate_of(prompt: str, findings: Any) -> Any:
    own = tiny.collator(prompt)
    own.findings = tuple(findings)
    return own


def asked(
    student: Any, findings: tuple[str, ...] = FINDINGS, **how: Any
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    settings = LikelihoodSettings(**{"wordings": 3, **how})
    rounds, facts = plan(findings, settings, collate_of, "describe", findings)
    return probabilities(student, Shown(), STUDIES, rounds, settings.normalize, torch.device("cpu")), facts


def test_wordings_are_added_as_probabilities() -> None:
    """Present .1 + .05, absent .05 + .1 + .15: p = .15 / .45. The other finding is as likely as not."""
    log = math.log
    student = Knows(
        {
            "Edema: yes": log(0.1),
            "There is edema": log(0.05),
            "Edema: no": log(0.05),
            "There is no edema": log(0.1),
            "Edema is absent": log(0.15),
        }
    )
    found, facts = asked(student)
    assert [row["edema"] for row in found] == pytest.approx([1 / 3] * 3)
    assert [row["pleural_effusion"] for row in found] == pytest.approx([0.5] * 3)
    assert facts == {"form": "statements", "statements": 12, "left_out": {}, "findings_without": []}


def test_one_branch_a_statement_and_one_pass_for_many_studies() -> None:
    student = Knows({})
    asked(student)
    assert student.passes == 1 and student.asked[0] == [
        "Edema: yes",
        "There is edema",
        "Edema is present",
        "Edema: no",
        "There is no edema",
        "Edema is absent",
        "Pleural effusion: yes",
        "There is pleural effusion",
        "Pleural effusion is present",
        "Pleural effusion: no",
        "There is no pleural effusion",
        "Pleural effusion is absent",
    ]


def test_length_is_divided_out_only_where_it_is_asked_for() -> None:
    """Both verdicts have -4; the tokens that they have decide under token_mean."""
    words = tiny.collator().answer
    present, absent = (len(words(text).ids) for text in ("Edema is present", "There is no edema"))
    student = Knows({"Edema is present": -4.0, "There is no edema": -4.0})
    assert asked(student)[0][0]["edema"] == pytest.approx(0.5)

    def side(own: list[tuple[str, float]]) -> float:
        return sum(math.exp(value / len(words(text).ids)) for text, value in own)

    yes = side([("Edema: yes", -50), ("There is edema", -50), ("Edema is present", -4)])
    no = side([("Edema: no", -50), ("There is no edema", -4), ("Edema is absent", -50)])
    assert present != absent
    assert asked(student, normalize="token_mean")[0][0]["edema"] == pytest.approx(yes / (yes + no))


def test_questions_are_asked_one_finding_at_a_time() -> None:
    """Yes .3 and yes .1 against No .2: p = .4 / .6."""
    student = Knows({"Yes": math.log(0.3), "yes": math.log(0.1), "No": math.log(0.2)})
    found, facts = asked(student, form="yes_no")
    assert [row["edema"] for row in found] == pytest.approx([2 / 3] * 3)
    assert student.passes == 2 and student.asked[0] == ["Yes", "yes", "No", "no"]
    assert facts["statements"] == 8


def test_the_question_names_the_finding() -> None:
    rounds, _ = plan(("pleural_effusion",), LikelihoodSettings("yes_no"), collate_of, "describe", ())
    ids = rounds[0].collate([item_of(0)]).prefix_ids[0]
    assert "Is there pleural effusion? Answer yes or no." in tiny.processor().tokenizer.decode(ids)


def test_a_finding_that_no_statement_can_deny_has_none() -> None:
    found, facts = asked(Knows({}), ("edema", "no_finding"))
    assert set(found[0]) == {"edema"}
    assert facts["findings_without"] == ["no_finding"] and facts["left_out"] == {"unreadable": 3}
    assert plan(("no_finding",), LikelihoodSettings("yes_no"), collate_of, "describe", ())[0] == []


def unknowing(*words: str) -> Any:
    """A collator whose tokenizer gives one id for each text that holds one of ``words``."""
    own = tiny.collator()
    answer = own.answer

    class Answer:
        def __call__(self, text: str) -> Any:
            ids = answer(text).ids
            return SimpleNamespace(ids=[999, *ids] if any(word in text for word in words) else ids)

    own.answer, own.tokenizer = Answer(), SimpleNamespace(unk_token_id=999)
    return own


def test_wordings_that_a_tokenizer_does_not_know_are_no_evidence() -> None:
    """The pair goes with its half: three statements against two would weigh one side."""
    rounds, facts = plan(("edema",), LikelihoodSettings(wordings=3), lambda *_: unknowing("absent"), "describe", ())
    assert [branch.text for branch in rounds[0].branches] == [
        "Edema: yes",
        "There is edema",
        "Edema: no",
        "There is no edema",
    ]
    assert facts["left_out"] == {"unknown_tokens": 1}
    _, facts = plan(FINDINGS, LikelihoodSettings(wordings=3), lambda *_: unknowing("effusion"), "describe", ())
    assert facts["findings_without"] == ["pleural_effusion"] and facts["left_out"] == {"unknown_tokens": 3}


def test_statements_that_do_not_fit_are_left_out() -> None:
    """Cut to four tokens, "There is no edema" would be "There is no"."""
    rounds, facts = plan(
        ("edema",), LikelihoodSettings(wordings=3), lambda *_: tiny.collator(max_branch_tokens=4), "describe", ()
    )
    lengths = [len(tiny.collator().answer(branch.text).ids) for branch in rounds[0].branches]
    assert max(lengths) <= 4 and facts["left_out"]["too_long"] >= 1


def test_the_nano_tokenizer_knows_every_wording() -> None:
    """It falls back to bytes: there is no unknown token."""
    assert tiny.processor().tokenizer.unk_token_id is None


@pytest.mark.parametrize("form", ["statements", "yes_no"])
def test_probabilities_are_those_of_separate_sequences(form: str) -> None:
    """A random student asked one statement at a time: batches and shared prompts change nothing."""
    student = tiny.student(3)
    found, _ = asked(student, form=form, wordings=1)
    rounds, _ = plan(FINDINGS, LikelihoodSettings(form, wordings=1), collate_of, "describe", FINDINGS)
    for place, study in list(enumerate(STUDIES))[1:2]:
        for each in rounds:
            alone = {}
            for branch in each.branches:
                batch = each.collate([(Example(study, (branch,)), Shown().images(study))])
                with torch.no_grad():
                    logp = student.score(batch).logps[0, 0].double()
                alone.setdefault(branch.source, []).append(logp)
            for name, logps in alone.items():
                half = len(logps) // 2
                yes, no = (torch.stack(side).logsumexp(0) for side in (logps[:half], logps[half:]))
                assert found[place][name] == pytest.approx(float((yes - no).sigmoid()), abs=1e-5)


def test_images_are_encoded_once_for_all_questions() -> None:
    student = tiny.student(3)
    asked(student, form="yes_no")
    assert student.counts["images encoded"] == len(STUDIES)


def test_many_statements_are_scored_a_few_studies_at_a_time() -> None:
    pairs = {f"f{i}": [("a", "b")] for i in range(AT_ONCE // 4)}
    student = Knows({})
    found = probabilities(student, Shown(), STUDIES, [Round(tiny.collator(), pairs)], "sum", torch.device("cpu"))
    assert student.passes == 2 and len(found) == 3


def test_lines_become_scores() -> None:
    rows = [
        {"patient": "a", "truth": {"edema": 1, "mass": None}, "p": {"edema": 0.75, "mass": 0.25}},
        {"patient": "b", "truth": {"edema": 0, "mass": 1}, "p": {"edema": 0.5, "mass": None}},
    ]
    found = {name: value for metric, name, value in of_statements(rows).rows() if metric == "likelihood_accuracy"}
    assert found["edema"] == 0.5 and math.isnan(found["mass"]) and found["mean"] == 0.5
    assert {metric for metric, *_ in of_statements([]).rows()} == {metric for metric, *_ in of_statements(rows).rows()}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"form": "maybe"}, "form must be one of statements, yes_no, off, got 'maybe'"),
        ({"normalize": "mean"}, "normalize must be one of sum, token_mean, got 'mean'"),
        ({"wordings": 0}, "wordings must be > 0, got 0"),
    ],
)
def test_odd_settings_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LikelihoodSettings(**given)


@pytest.mark.parametrize("given", [1, -1])
def test_one_sample_is_no_vote(given: int) -> None:
    with pytest.raises(ValueError, match="samples must be 0"):
        EvaluateSettings(samples=given)


def test_findings_that_cannot_be_asked_about_are_named_and_the_rest_is_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"form": "statements", "statements": 2, "left_out": {}, "findings_without": ["fracture", "edema"]}
    monkeypatch.setattr(run, "plan", lambda *given: (["a round"], known))
    monkeypatch.setattr(run, "probabilities", lambda *given: [{"pneumonia": 0.25}])
    asked = SimpleNamespace(
        plan=SimpleNamespace(likelihood=LikelihoodSettings()),
        courses=False,
        findings=("edema", "pneumonia"),
        collator=None,
        prompt="diagnose",
        listed=None,
        student=None,
        data=None,
        device=None,
        studies=[SimpleNamespace(id="s", patient="p", findings={"pneumonia": 1.0})],
    )
    lines, facts = run._statements(asked, {})
    assert lines == [
        {
            "study": "s",
            "patient": "p",
            "truth": {"edema": None, "pneumonia": 1},
            "p": {"edema": None, "pneumonia": 0.25},
        }
    ]
    assert facts["findings_without"] == known["findings_without"]
    assert "no likelihood of fracture, edema" in " ".join(capsys.readouterr().out.split())
