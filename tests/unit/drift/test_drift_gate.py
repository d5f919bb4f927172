"""The gate: what is beyond a threshold is told, left out, or counts less, in examples and in the loss."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from apo_lightning.drift.gate import Conflicts, apply, cut_out
from apo_lightning.errors import DataError
from apo_lightning.experiment import gating
from apo_lightning.losses import LOSSES
from apo_lightning.settings import GateSettings
from apo_lightning.stages import STAGES
from apo_lightning.stages.base import weigh
from apo_lightning.text.thinking import ThinkingPolicy
from apo_lightning.types import PREFERRED, Branch, Example, LossOutput, Study, Trajectory
from tests.helpers import tiny

NAMES = ["edema", "pleural_effusion", "pneumonia"]
SCORES = Conflicts({"s0": 0.2, "s1": 0.8}, {"s0": {"edema": 0.9}, "s1": {"edema": 0.1}})


def example(name: str, *texts: str, preferred: str | None = None) -> Example:
    study = Study(name, name, "train", (), {})
    first = (Branch(PREFERRED, preferred),) if preferred else ()
    return Example(study, (*first, *(Branch(f"t{i}", text) for i, text in enumerate(texts))))


EXAMPLES = [example("s0", "Edema. No effusion.", "No edema.", preferred="Edema."), example("s1", "Edema.")]


def gated(**plan) -> tuple[list[Example], Counter]:
    counts = Counter()
    return apply(EXAMPLES, SCORES, GateSettings(**plan), NAMES, counts=counts), counts


def test_reported_is_counted_and_nothing_else() -> None:
    found, counts = gated(studies=0.5, findings=0.5)
    assert found == EXAMPLES
    assert counts == {"studies_in_conflict": 1, "findings_in_conflict": 1}


def test_a_study_is_left_out_or_counts_less() -> None:
    assert [one.study.id for one in gated(studies=0.5, action="leave_out")[0]] == ["s0"]
    assert [one.weight for one in gated(studies=0.5, action="weight", weight=0.1)[0]] == [1.0, 0.1]
    assert gated(studies=0.8, action="leave_out")[0] == EXAMPLES  # above, not at


def test_sentences_on_a_finding_are_left_out_of_teachers_and_not_of_the_preferred_text() -> None:
    found, counts = gated(findings=0.5, action="leave_out")
    assert [branch.text.strip() for branch in found[0].branches] == ["Edema.", "No effusion."]
    assert found[0].branches[0].source == PREFERRED and found[1] == EXAMPLES[1]
    assert counts["sentences_left_out"] == 2 and counts["texts_left_out"] == 1


def test_a_teacher_counts_less_by_the_share_of_its_findings() -> None:
    found, _ = gated(findings=0.5, action="weight", weight=0.2)
    assert [branch.weight for branch in found[0].branches] == pytest.approx([1, 0.6, 0.2])
    assert [branch.text for branch in found[0].branches] == [branch.text for branch in EXAMPLES[0].branches]


def test_spans_move_with_a_text_that_is_cut() -> None:
    branch = Branch("a", "0123456789", conflicts=((0, 2), (3, 5), (6, 9)))
    shorter = cut_out(branch, [(2, 4), (9, 10)])
    assert (shorter.text, shorter.conflicts) == ("0145678", ((0, 2), (4, 7)))


@pytest.mark.parametrize(
    "plan",
    [{}, {"studies": 1.1}, {"findings": -0.1}, {"studies": 0.5, "weight": 0}, {"studies": 0.5, "action": "drop"}],
)
def test_settings_out_of_range(plan: dict) -> None:
    with pytest.raises(ValueError, match=r"studies|findings|weight|action"):
        GateSettings(**plan)


def test_a_loss_is_weighed_by_study() -> None:
    """(1 * 2 + .5 * 4) / 2 studies = 2; a study that does not count (0 of counts) does not divide."""
    batch = tiny.collator()([tiny.item(0, {"a": "No."}), tiny.item(1, {"a": "No."})])
    output = LossOutput(torch.tensor(3.0), torch.tensor([2.0, 4.0]))
    assert weigh(output, batch) is output
    batch.study_weight = torch.tensor([1.0, 0.5])
    assert weigh(output, batch).loss == 2
    one = LossOutput(torch.tensor(2.0), torch.tensor([2.0, 0.0]), counts={"loss": torch.tensor(1)})
    assert weigh(one, batch).loss == 2


@pytest.mark.parametrize("mode", ["joint", "branchwise"])
def test_gradients_of_a_stage_are_weighed_in_every_way_of_scoring(mode: str) -> None:
    """A weight of 1/2 on one of two equal studies: three quarters of the gradient; both with 1/2: half of it."""
    item, grads = tiny.item(0, {"a": "No edema.", "b": "Mild edema."}), {}
    for weights in ((1.0, 1.0), (1.0, 0.5), (0.5, 0.5)):
        student = tiny.student().make_trainable(seed=0)
        student.settings.scorer.mode = mode
        loss = LOSSES["spd_nll"](reduction="token_mean")
        stage = STAGES["spd"](student, loss, {"lr": 1e-3}, steps=1, seed=0)
        items = [(Example(item[0].study, item[0].branches, weight=w), item[1]) for w in weights]
        stage.training_step(tiny.collator()(items), 0)["loss"].backward()
        grads[weights] = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
    whole = grads[1.0, 1.0]
    torch.testing.assert_close(grads[1.0, 0.5], 0.75 * whole, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(grads[0.5, 0.5], 0.5 * whole, rtol=1e-3, atol=1e-7)


class Own:
    """As much of a `Context` as the gate asks."""

    def __init__(self, plan: GateSettings | None) -> None:
        texts = {"s0": ("Left effusion.", "Right effusion."), "s1": ("Edema.", "Edema.")}
        self.arm, self.thinking = "one", ThinkingPolicy()
        self.cfg, self.data = SimpleNamespace(pool=SimpleNamespace(gate=plan)), SimpleNamespace(findings=NAMES)
        self.heard = {
            study: {f"t{i}": Trajectory(study, f"t{i}", text) for i, text in enumerate(own)}
            for study, own in texts.items()
        }
        self.examples = [example(study, *own) for study, own in texts.items()]


def test_a_stage_is_trained_on_what_the_gate_leaves_and_its_key_says_so() -> None:
    own = Own(GateSettings(studies=0.5, action="leave_out"))
    assert [one.study.id for one in gating.gated(own, own.examples, Counter())] == ["s1"]
    assert gating.inputs(own) == {"gate": {"studies": 0.5, "findings": None, "action": "leave_out", "weight": 0.25}}
    own = Own(GateSettings(findings=0.5, action="leave_out"))
    assert [one.study.id for one in gating.gated(own, own.examples, Counter())] == ["s1"]


@pytest.mark.parametrize("plan", [None, GateSettings(studies=0.1)])
def test_nothing_is_trained_otherwise_and_no_key_changes(plan: GateSettings | None) -> None:
    own = Own(plan)
    assert gating.gated(own, own.examples, Counter()) == own.examples and gating.inputs(own) == {}


def test_a_gate_that_leaves_nothing_says_so() -> None:
    own = Own(GateSettings(studies=0.5, action="leave_out"))
    with pytest.raises(DataError, match=r"pool.gate .* leaves none of 1 training studies of arm 'one'"):
        gating.gated(own, own.examples[:1], Counter())


def test_what_the_gate_did_is_in_the_manifest_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"studies_in_conflict": 7, "findings_in_conflict": 0}
    records = {
        "spd": {"studies": 80, "filtered": {**counts, "unusable": 3}},
        "apo": {"studies": 1_200, "filtered": {**counts, "studies_in_conflict": 1_100}},
        "evaluate": {"rows": 3},
    }
    monkeypatch.setattr(gating.inventory, "read", lambda path: records[path])
    arms = [Own(GateSettings(studies=0.5)), Own(GateSettings(studies=0.5)), Own(None)]
    for own in arms:
        own.done = {name: SimpleNamespace(path=name) for name in records}
    assert gating.facts(arms) == {
        "gated": [
            "spd kept 80 studies: 7 studies beyond their threshold, 0 findings of a study beyond theirs",
            "apo kept 1,200 studies: 1,100 studies beyond their threshold, 0 findings of a study beyond theirs",
        ]
    }
    assert gating.facts(arms[2:]) == {}
