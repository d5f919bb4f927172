"""The likeliest tokens of a model: against whole logits, through a file, and as what a student learns from."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from apo_lightning.caches.log_probs import LogProbs, identity
from apo_lightning.functional.divergence import divergence_rows
from apo_lightning.functional.teacher_logits import TopK, head_logits, top_k
from apo_lightning.losses.spd_kl import SpdKl
from apo_lightning.scoring import compare
from apo_lightning.scoring import top_k as listed
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.spd import SPD
from apo_lightning.types import BranchBatch
from tests.helpers import families, tiny
from tests.unit.losses.test_compare import BATCH, FAMILY, log_probs

TEXTS = {"a": "No edema.", "b": "Severe left effusion."}


def test_the_likeliest_and_the_mass_of_the_rest() -> None:
    """Whole rows, also in chunks of two; the tail is summed, so that 1e-9 is not lost beside 1."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(7, 4).double(), torch.randn(11, 4).double()
    whole = (hidden @ weight.T / 2.0).log_softmax(-1)
    found = top_k(head_logits(hidden, weight), 7, 3, vocabulary=11, temperature=2.0, chunk_bytes=88)
    known, ids = whole.topk(3, -1)
    assert torch.equal(found.ids, ids) and found.temperature == 2.0
    torch.testing.assert_close(found.logps, known)
    left = [[i for i in range(11) if i not in own] for own in ids.tolist()]
    torch.testing.assert_close(found.tail, whole.gather(1, torch.tensor(left)).logsumexp(-1))
    sharp = top_k(lambda rows, t: torch.tensor([[0.0, -21.0, -21.0]]), 1, 1, vocabulary=3)
    assert sharp.tail.item() == pytest.approx(-21 + 0.6931472)


def test_of_all_tokens_nothing_is_left() -> None:
    found = top_k(lambda rows, t: torch.zeros(1, 4).log_softmax(-1), 1, 9, vocabulary=4)
    assert found.ids.shape == (1, 4) and found.tail.tolist() == [-torch.inf]
    assert top_k(head_logits(torch.zeros(0, 2), torch.zeros(4, 2)), 0, 2, vocabulary=4).ids.shape == (0, 2)
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        top_k(lambda rows, t: torch.zeros(1, 4), 1, 0, vocabulary=4)


def test_a_tail_that_does_not_belong_to_its_rows_is_refused() -> None:
    ids, half = torch.tensor([[0], [1]]), torch.tensor([[0.5], [0.5]]).log()
    TopK(ids, half, tail=torch.tensor([0.5, 0.5]).log())
    with pytest.raises(ValueError, match=r"tail must be \[2\], one a row of logps, got \[1\]"):
        TopK(ids, half, tail=torch.tensor([0.5]).log())
    with pytest.raises(ValueError, match=r"must add up to a mass of 1, got a row of 0\.6"):
        TopK(ids, half, tail=torch.tensor([0.5, 0.1]).log())


@pytest.mark.parametrize("kind", ["forward", "reverse", "jensen_shannon"])
def test_a_recorded_tail_is_the_one_that_is_left(kind: str) -> None:
    torch.manual_seed(0)
    logits, student = torch.randn(5, 9).double(), torch.randn(5, 9).double()
    whole = top_k(lambda rows, t: logits[rows].log_softmax(-1), 5, 4, vocabulary=9)
    sides = [whole, TopK(whole.ids, whole.logps)]
    (value, slope), (same, again) = (divergence_rows(t, kind)(student.clone(), slice(0, 5), True) for t in sides)
    torch.testing.assert_close(value, same)
    torch.testing.assert_close(slope, again)


def test_a_tail_beside_sure_tokens_keeps_its_mass() -> None:
    """In float32 1 - 1/2 - 1/2 is 0; the mass that the teacher gives to the rest is 2e-8 all the same."""
    half = torch.tensor([[0.5, 0.5]]).log()
    teacher = TopK(torch.tensor([[0, 1]]), half, tail=torch.tensor([2e-8]).log())
    value = divergence_rows(teacher, "forward")(torch.tensor([[0.0, 0.0, -50.0]]), slice(0, 1), False)[0]
    assert value.item() == pytest.approx(2e-8 * (math.log(2e-8) + 50 + math.log(2)), rel=1e-3)


@pytest.mark.parametrize("mode", ["joint", "branchwise", "separate"])
def test_of_a_batch_against_whole_logits(mode: str) -> None:
    """Every branch of every study that is there; a vocabulary that ends before the head does."""
    model, batch = families.network(FAMILY), families.batch(FAMILY, **BATCH)
    vocabulary = len(model.lm_head.weight) - 5
    found = listed(model, batch, 4, vocabulary=vocabulary, mode=mode)
    assert set(found) == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}
    for (b, u), top in found.items():
        whole = log_probs(model, batch, b, u)[:, :vocabulary].log_softmax(-1)
        torch.testing.assert_close(top.logps, whole.topk(4, -1)[0], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(top.logps, whole.gather(1, top.ids), atol=2e-5, rtol=1e-4)


def test_of_a_model_that_reads_text_only() -> None:
    """Prompts of two lengths, padded on the left; each answer as if it were alone."""
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=40)
    model = LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.5)).eval()
    prompts, answers = [[3, 4, 5, 6], [7, 8]], [[[9, 10, 11], [12]], [[13, 14]]]
    batch = BranchBatch(
        studies=["s0", "s1"],
        prefix_ids=torch.tensor([prompts[0], [0, 0, *prompts[1]]]),
        prefix_mask=torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]]),
        vision={},
        image_counts=[0, 0],
        branch_ids=torch.tensor([[[9, 10, 11], [12, 0, 0]], [[13, 14, 0], [0, 0, 0]]]),
        branch_mask=torch.tensor([[[1, 1, 1], [1, 0, 0]], [[1, 1, 0], [0, 0, 0]]]),
        present=torch.tensor([[True, True], [True, False]]),
        weight=torch.ones(2, 2),
        sources=[["a", "b"], ["a"]],
        agreement=torch.ones(2, 2),
        conflict=torch.zeros(2, 2, 3, dtype=torch.bool),
    )
    found = listed(model, batch, 5, vocabulary=40)
    assert set(found) == {(0, 0), (0, 1), (1, 0)}
    for (b, u), top in found.items():
        ids = torch.tensor([prompts[b] + answers[b][u]])
        want = model(input_ids=ids).logits[0, len(prompts[b]) - 1 : -1].log_softmax(-1).topk(5, -1)
        assert torch.equal(top.ids, want.indices)
        torch.testing.assert_close(top.logps, want.values)


def recorded(path: Path, batch: BranchBatch, teacher: torch.nn.Module, column: int, k: int = 6) -> LogProbs:
    vocabulary = len(teacher.lm_head.weight)
    file = LogProbs(path, identity(k, 1.0, "float32", vocabulary))
    found = of_column(teacher, batch, column, k)
    file.write((batch.studies[b], batch.branch_ids[b, column, : len(top.ids)], top) for b, top in found.items())
    return file


def of_column(teacher: torch.nn.Module, batch: BranchBatch, column: int, k: int = 6) -> dict[int, TopK]:
    """Study to rows of one branch, as the teacher sees the images."""
    found = listed(teacher, replace(batch, features=None), k, vocabulary=len(teacher.lm_head.weight))
    return {b: top for (b, u), top in found.items() if u == column}


@pytest.mark.parametrize("kind", ["forward", "reverse", "jensen_shannon"])
def test_recorded_is_the_live_top_k_to_the_last_digit(tmp_path: Path, kind: str) -> None:
    """Beside a teacher whose model is there; study 2 lacks teacher 3."""
    model, batch = families.network(FAMILY), families.batch(FAMILY, **BATCH)
    teachers = {f"t{u}": families.network(FAMILY, seed=u + 1).requires_grad_(False) for u in range(3)}
    files = {f"t{u}": recorded(tmp_path / f"{u}.sqlite", batch, teachers[f"t{u}"], u) for u in range(3)}
    rows = partial(divergence_rows, kind=kind)
    have = compare(model, batch, {**files, "t1": teachers["t1"]}, rows, mixed=False)
    live = compare(model, batch, teachers, rows, mixed=False)
    assert torch.equal(have[:, 1], live[:, 1])
    for u in (0, 2):
        for b, top in of_column(teachers[f"t{u}"], batch, u).items():
            own = log_probs(model, batch, b, u).detach()
            want = rows(top)(own.clone(), slice(0, len(own)), False)[0]
            torch.testing.assert_close(have[b, u, : len(want)], want, atol=5e-6, rtol=1e-5)


def test_of_all_tokens_it_is_the_live_model(tmp_path: Path) -> None:
    """K = V: what was recorded teaches as the model itself does, value and gradient."""
    model, batch = families.network(FAMILY), families.batch(FAMILY, **BATCH)
    teachers = {f"t{u}": families.network(FAMILY, seed=u + 1).requires_grad_(False) for u in range(3)}
    size = len(model.lm_head.weight)
    files = {f"t{u}": recorded(tmp_path / f"{u}.sqlite", batch, teachers[f"t{u}"], u, size) for u in range(3)}
    rows = partial(divergence_rows, kind="forward")
    sides = [compare(model, batch, each, rows, mixed=False) for each in (files, teachers)]
    torch.testing.assert_close(*sides, atol=2e-6, rtol=1e-5)
    grads = [torch.autograd.grad(side.sum(), model.lm_head.weight)[0] for side in sides]
    torch.testing.assert_close(*grads, atol=2e-6, rtol=1e-5)


def test_recorded_teachers_are_not_mixed() -> None:
    model, batch = families.network(FAMILY), families.batch(FAMILY, **BATCH)
    with pytest.raises(ValueError, match="cannot be mixed of whom the likeliest tokens alone are known: t1"):
        compare(model, batch, {"t0": model, "t1": object(), "t2": model}, divergence_rows, mixed=True)


def test_the_stage_learns_from_what_was_recorded(tmp_path: Path) -> None:
    """The loss of a step, and the gradient of every adapter weight, are those of the same top-k taken live."""
    batch = tiny.collator()([tiny.item(0, TEXTS), tiny.item(1, TEXTS)])
    teacher, size = tiny.student(1), len(tiny.processor().tokenizer)
    live = teacher.top_k(batch, 16)
    files = {}
    for u, name in enumerate(TEXTS):
        files[name] = LogProbs(tmp_path / f"{name}.sqlite", identity(16, 1.0, "float32", size))
        rows = ((b, top) for (b, column), top in live.items() if column == u)
        files[name].write((batch.studies[b], batch.branch_ids[b, u, : len(top.ids)], top) for b, top in rows)

    class Live:
        def __init__(self, column: int) -> None:
            self.column = column

        def top_k(self, study: str, tokens: torch.Tensor) -> TopK:
            return live[batch.studies.index(study), self.column]

    def step(teachers: dict[str, object]) -> tuple[float, list[torch.Tensor]]:
        student = tiny.student(0).make_trainable(seed=0)
        loss = SpdKl(kind="forward", temperature=1.0, reduction="token_mean")
        stage = SPD(student, loss, OptimSettings(lr=1e-3), steps=1, seed=0)
        stage.set_teachers(teachers)
        stage.log_loss = lambda output, batch, **extra: output
        output = stage.training_step(batch, 0)
        output.loss.backward()
        return output.loss.item(), [p.grad for p in stage.parameters() if p.grad is not None]

    value, grads = step(files)
    same, again = step({name: Live(u) for u, name in enumerate(TEXTS)})
    assert value == same > 0.001 and len(grads) == len(again) > 0
    assert all(torch.equal(*pair) for pair in zip(grads, again, strict=True))
    assert {type(file) for file in files.values()} == {LogProbs}
