"""Context distillation: its loss by hand, and its values and gradients against a naive computation on a tiny model."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from apo_lightning.batching.informed import InformedBatch, InformedCollator
from apo_lightning.losses import LOSSES
from apo_lightning.losses.context_kl import ContextKl
from apo_lightning.models import in_context
from apo_lightning.models.student import Student
from apo_lightning.scoring.parts import Parts, model_inputs
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.context_distill import ContextDistill
from apo_lightning.types import PREFERRED, BranchBatch
from tests.helpers import tiny
from tests.helpers.given_logits import given_logits

KINDS = ("forward", "reverse", "jensen_shannon")
REPORTS = ("There is edema. The heart is large.", "No edema.")
each_kind = pytest.mark.parametrize("kind", KINDS)


def loss(kind: str = "forward", **settings) -> ContextKl:
    return LOSSES["context_kl"](**{"kind": kind, "temperature": 1.0, "reduction": "token_mean", **settings})


def pair() -> InformedCollator:
    return InformedCollator(tiny.collator(), tiny.collator("reconcile"))


def batch(*reports: tuple[str, ...]) -> InformedBatch:
    """A study for each tuple of reports, with t+ and two teachers' branches."""
    rows = [{PREFERRED: text, "t0": "No.", "t1": "I see no edema."} for text in ("Edema.", "Mild edema is seen.")]
    return pair()([tiny.item(i, rows[i], said) for i, said in enumerate(reports)])


def stage(divergence: str = "forward", seed: int = 0, *, moved: bool = False, **adapter) -> ContextDistill:
    student = tiny.student(seed, **adapter).make_trainable(seed=seed)
    if moved:
        shift(student)
    own = ContextDistill(student, loss(divergence), OptimSettings(lr=1e-3), steps=10, seed=seed)
    own.log_loss = lambda output, batch, **extra: output  # no Trainer here
    own.train()
    return own


def shift(student: Student) -> None:
    """As if it had been trained: what is trained is no more what it was."""
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in (p for p in student.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))


def naive_logits(student: Student, of: BranchBatch, b: int) -> Tensor:
    """``[T, V]`` logits of the tokens of t+ of one study, by one plain forward of prompt and answer."""
    ids = of.branch_ids[b, 0][of.branch_mask[b, 0].bool()]
    prompt = of.prefix_ids[b][of.prefix_mask[b].bool()]
    images = sum(of.image_counts[:b]), sum(of.image_counts[: b + 1])
    grid = of.vision["image_grid_thw"]
    patches = grid.prod(-1).tolist()
    first = sum(patches[: images[0]])
    vision = {
        "pixel_values": of.vision["pixel_values"][first : first + sum(patches[images[0] : images[1]])],
        "image_grid_thw": grid[images[0] : images[1]],
    }
    whole = torch.cat([prompt, ids])[None]
    one = replace(of, studies=[of.studies[b]], prefix_ids=whole, prefix_mask=torch.ones_like(whole))
    one = replace(one, vision=vision, image_counts=[of.image_counts[b]], features=None)
    network = Parts.of(student.model).whole
    return network(**model_inputs(student.model, one)).logits[0, len(prompt) - 1 : -1]


def naive(student: Student, of: InformedBatch, kind: str) -> Tensor:
    """Mean over studies of the mean over tokens of the divergence, written out over the whole vocabulary."""
    found = []
    for b in range(len(of)):
        with student.reference():
            p = F.log_softmax(naive_logits(student, of.informed(), b), -1)
        q = F.log_softmax(naive_logits(student, of, b), -1)
        m = torch.logaddexp(p, q) - math.log(2)
        value = {
            "forward": lambda p=p, q=q: (p.exp() * (p - q)).sum(-1),
            "reverse": lambda p=p, q=q: (q.exp() * (q - p)).sum(-1),
            "jensen_shannon": lambda p=p, q=q, m=m: ((p.exp() * (p - m)).sum(-1) + (q.exp() * (q - m)).sum(-1)) / 2,
        }[kind]()
        found.append(value.mean())
    return torch.stack(found).mean()


def gradients(student: Student) -> dict[str, Tensor]:
    return {name: p.grad for name, p in student.named_parameters() if p.requires_grad and p.grad is not None}


@pytest.mark.parametrize("adapter", [{"kind": "lora"}, {"kind": "full"}])
@each_kind
def test_values_and_gradients_are_those_of_the_naive_computation(kind: str, adapter: dict) -> None:
    """Two studies with two and one teacher to read, of a student that has moved away from the frozen one."""
    asked = batch(REPORTS, REPORTS[:1])
    ours = stage(kind, moved=True, **adapter)
    output = ours.training_step(asked, 0)
    output.loss.backward()
    twin = stage(kind, moved=True, **adapter).student
    expected = naive(twin, asked, kind)
    expected.backward()
    torch.testing.assert_close(output.loss.detach(), expected.detach(), rtol=1e-4, atol=1e-6)
    own, other = gradients(ours.student), gradients(twin)
    assert own.keys() == other.keys() and any(g.abs().max() > 1e-4 for g in own.values())
    for name, gradient in own.items():
        torch.testing.assert_close(gradient, other[name], rtol=2e-3, atol=2e-5, msg=name)


@each_kind
def test_without_a_teacher_to_read_it_begins_at_zero(kind: str) -> None:
    """The student then is its own teacher, prompt and all; once it has moved, it is not."""
    empty = batch((), ())
    output = stage(kind).training_step(empty, 0)
    assert output.loss.item() == pytest.approx(0, abs=1e-6) and output.per_study.abs().max() < 1e-6
    assert stage(kind, moved=True).training_step(empty, 0).loss > 1e-4


@each_kind
def test_with_teachers_to_read_it_begins_above_zero_and_falls(kind: str) -> None:
    asked, own = batch(REPORTS, REPORTS), stage(kind)
    optimizer = torch.optim.SGD([p for p in own.parameters() if p.requires_grad], lr=0.05)
    before = own.training_step(asked, 0).loss
    before.backward()
    optimizer.step()
    assert 1e-5 < own.training_step(asked, 1).loss < before


def test_the_frozen_student_gets_no_gradient_and_stays() -> None:
    own = stage(moved=True)
    held = {name: p.clone() for name, p in own.student.named_parameters() if not p.requires_grad}
    own.training_step(batch(REPORTS), 0).loss.backward()
    for name, parameter in own.student.named_parameters():
        if name in held:
            assert parameter.grad is None and torch.equal(parameter, held[name])


def test_teachers_branches_are_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, whole = [], in_context.divergence

    def watched(student: Student, asked: BranchBatch, *rest: object) -> Tensor:
        seen.append(asked.present.shape)
        return whole(student, asked, *rest)

    monkeypatch.setattr(in_context, "divergence", watched)
    stage().training_step(batch(REPORTS, REPORTS), 0)
    assert seen == [(2, 1)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("forward", 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)),
        ("reverse", 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)),
        (
            "jensen_shannon",
            0.5 * (0.5 * math.log(0.5 / 0.65) + 0.5 * math.log(0.5 / 0.35))
            + 0.5 * (0.8 * math.log(0.8 / 0.65) + 0.2 * math.log(0.2 / 0.35)),
        ),
    ],
)
def test_two_tokens_by_hand(kind: str, value: float) -> None:
    """A vocabulary of two: with context (1/2, 1/2), without (4/5, 1/5) at the first token and alike at the second."""
    teacher = torch.tensor([[0.5, 0.5], [0.3, 0.7]], dtype=torch.float64).log()
    student = torch.tensor([[0.8, 0.2], [0.3, 0.7]], dtype=torch.float64).log()
    rows, _ = loss(kind).rows(given_logits(teacher))(student.clone(), slice(0, 2), False)
    assert rows.tolist() == pytest.approx([value, 0], abs=1e-12)
    columns = torch.stack([rows, torch.full((2,), math.nan, dtype=torch.float64)])[None]  # t+, and a teacher
    given = {"mask": torch.ones(1, 2, 2), "present": torch.tensor([[True, True]])}
    for reduction, share in (("token_mean", 2), ("sequence_sum", 1)):
        output = loss(kind, reduction=reduction)(context_divergence=columns, **given)
        assert output.loss.item() == pytest.approx(value / share)
        assert output.metrics["divergence"].item() == pytest.approx(value / 2)


def test_a_study_without_t_plus_is_no_part_of_the_mean() -> None:
    values = torch.tensor([[[2.0]], [[math.nan]]], dtype=torch.float64).requires_grad_()
    output = loss()(context_divergence=values, mask=torch.ones(2, 1, 1), present=torch.tensor([[True], [False]]))
    output.loss.backward()
    assert output.loss == 2 and output.counts["loss"] == 1 and values.grad.flatten().tolist() == [1, 0]


def test_a_batch_has_both_prompts_and_those_of_a_study_without_reports_are_one() -> None:
    mixed = batch(REPORTS, ())
    read = tiny.processor().tokenizer.decode
    told = [read(ids[mask.bool()]) for ids, mask in zip(mixed.context_ids, mixed.context_mask, strict=True)]
    plain = [read(ids[mask.bool()]) for ids, mask in zip(mixed.prefix_ids, mixed.prefix_mask, strict=True)]
    assert all(report in told[0] and report not in plain[0] for report in REPORTS) and told[1] == plain[1]
    assert mixed.context_mask[:, -1].all() and mixed.informed().prefix_ids is mixed.context_ids
    assert mixed.first(1).branch_ids.shape[1] == 1 and mixed.first(1).context_ids is mixed.context_ids


def test_what_was_cut_is_counted_over_both_prompts() -> None:
    tight = InformedCollator(tiny.collator(max_branch_tokens=3), tiny.collator("reconcile", max_context_tokens=90))
    tight([tiny.item(0, {PREFERRED: tiny.truth(0)}, ("word " * 80,))])
    assert tight.cut["branches"] == 1 and tight.cut["reports"] == 1


def drawn(share: float, ids: list[list[int]] | None = None, monkeypatch: pytest.MonkeyPatch | None = None):
    own = stage("reverse", moved=True)
    own.loss = loss("reverse", on_policy=share, max_new_tokens=6)
    if ids is not None:
        monkeypatch.setattr(own.student, "write_tokens", lambda *given: torch.tensor(ids))
    return own


def test_the_students_own_answers_end_at_their_first_end(monkeypatch: pytest.MonkeyPatch) -> None:
    end, pad = tiny.processor().tokenizer.eos_token_id, tiny.processor().tokenizer.pad_token_id
    own = drawn(1.0, [[5, 6, end, pad], [7, 8, 9, 10]], monkeypatch)
    asked = own._answered(batch(REPORTS, REPORTS).first(1))
    assert asked.branch_ids.tolist() == [[[5, 6, end, pad]], [[7, 8, 9, 10]]]
    assert asked.branch_mask.tolist() == [[[1, 1, 1, 0]], [[1, 1, 1, 1]]]
    assert asked.conflict.shape == asked.branch_mask.shape and asked.context_ids is not None


def test_on_its_own_answers_it_is_the_naive_divergence_there(monkeypatch: pytest.MonkeyPatch) -> None:
    end, pad = tiny.processor().tokenizer.eos_token_id, tiny.processor().tokenizer.pad_token_id
    ids = [[15, 26, end, pad], [37, 8, 9, 10]]
    asked = batch(REPORTS, REPORTS[:1])
    output = drawn(1.0, ids, monkeypatch).training_step(asked, 0)
    answered = drawn(1.0, ids, monkeypatch)._answered(asked.first(1))
    expected = naive(stage("reverse", moved=True).student, answered, "reverse")
    torch.testing.assert_close(output.loss.detach(), expected.detach(), rtol=1e-4, atol=1e-6)


def test_the_answers_are_the_trained_students_of_this_moment_without_dropout() -> None:
    own = drawn(1.0)
    modes, write, seen = [], own.student.write_tokens, []

    def watched(asked, how, *rest):
        modes.append(any(module.training for module in own.student.modules()))
        seen.append((how.sample, how.temperature, how.top_p, how.max_new_tokens))
        return write(asked, how, *rest)

    own.student.write_tokens = watched
    torch.manual_seed(3)
    first = own._answered(batch(REPORTS, ()).first(1))
    assert modes == [False] and seen == [(True, 1.0, 1.0, 6)] and own.student.training
    torch.manual_seed(3)
    assert torch.equal(first.branch_ids, own._answered(batch(REPORTS, ()).first(1)).branch_ids)
    torch.manual_seed(3)
    other = stage("reverse")  # not moved: another student says something else
    other.loss = own.loss
    assert not torch.equal(first.branch_ids, other._answered(batch(REPORTS, ()).first(1)).branch_ids)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.3, 90, 150), (1.0, 400, 400)])
def test_a_share_of_the_steps_is_on_policy(share: float, low: int, high: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 steps .3 are 120, give or take three standard deviations (9.2)."""
    own, asked = drawn(share, [[5], [6]], monkeypatch), batch(REPORTS, REPORTS).first(1)
    own.generator.manual_seed(0)
    assert low <= sum(own._answered(asked) is not asked for _ in range(400)) <= high


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"on_policy": 1.1}, r"on_policy must be in \[0, 1\], got 1.1"),
        ({"max_new_tokens": 0}, "max_new_tokens must be >= 1"),
    ],
)
def test_settings_of_on_policy(setting: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        loss(**setting)
