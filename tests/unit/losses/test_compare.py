"""Divergences between teachers' and the student's token distributions, against whole logits one sequence at a time."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from apo_lightning.functional.divergence import divergence_rows
from apo_lightning.losses.spd_kl import SpdKl
from apo_lightning.losses.spd_mixture_kl import SpdMixtureKl
from apo_lightning.scoring import compare
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.spd import SPD
from apo_lightning.types import BranchBatch
from tests.helpers import families, tiny

FAMILY = "llava"
BATCH = dict(images=(1, 2), words=(9, 5), lengths=((5, 3, 4), (2, 6)))
ROWS = partial(divergence_rows, kind="forward", temperature=1.0, mix=0.5)


def log_probs(model: nn.Module, batch: BranchBatch, b: int, u: int) -> Tensor:
    """``[T, V]`` next-token log-probs at the tokens of one branch, from the model's public forward."""
    n, start = int(batch.branch_mask[b, u].sum()), sum(batch.image_counts[:b])
    prompt = batch.prefix_ids[b][batch.prefix_mask[b].bool()]
    ids = torch.cat([prompt, batch.branch_ids[b, u, :n]])[None]
    pixels = batch.vision["pixel_values"][start : start + batch.image_counts[b]]
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of each row of log-probs."""
    return (p.exp() * (p - q)).sum(-1)


@pytest.mark.parametrize("mode", ["joint", "branchwise", "separate"])
@pytest.mark.parametrize("mixed", [False, True])
def test_against_whole_logits(mode: str, mixed: bool) -> None:
    """Teacher 1 weighs 3, the others 1; study 2 lacks teacher 3. Values and the gradient of the head."""
    model, batch = families.network(FAMILY), families.batch(FAMILY, **BATCH)
    batch.weight = batch.present * torch.tensor([1.0, 3.0, 1.0])
    teachers = {f"t{u}": families.network(FAMILY, seed=u + 1).requires_grad_(False) for u in range(3)}
    have = compare(model, batch, teachers, ROWS, mixed=mixed, mode=mode)
    total = torch.zeros(())
    for b, names in enumerate(batch.sources):
        share = batch.weight[b, : len(names)] / batch.weight[b].sum()
        for u, name in enumerate(names):
            heard = [log_probs(teachers[other], batch, b, u) for other in names]
            mixture = sum(w * logs.exp() for w, logs in zip(share, heard, strict=True)).log()
            want = kl(mixture if mixed else heard[names.index(name)], log_probs(model, batch, b, u))
            torch.testing.assert_close(have[b, u, : len(want)], want, atol=2e-5, rtol=1e-4)
            assert have[b, u, len(want) :].abs().sum() == 0
            total = total + want.sum()
    weight = model.lm_head.weight
    wanted = torch.autograd.grad(total, weight)[0]
    torch.testing.assert_close(torch.autograd.grad(have.sum(), weight)[0], wanted, atol=1e-4, rtol=1e-3)


def test_branchwise_runs_no_more_answers_at_a_time_than_it_says() -> None:
    """Student and teacher, forward and again in the backward: the passes beside the prompt hold one answer each."""
    model, batch = families.network(FAMILY), families.batch(FAMILY, **BATCH)
    teacher, sizes = families.network(FAMILY, seed=1).requires_grad_(False), []
    for network in (model, teacher):
        network.model.get_decoder().register_forward_pre_hook(
            lambda _, args, given: sizes.append(given["inputs_embeds"].shape[:2]), with_kwargs=True
        )
    teachers = dict.fromkeys(("t0", "t1", "t2"), teacher)
    compare(model, batch, teachers, ROWS, mixed=True, mode="branchwise", rows=1).sum().backward()
    prompt = batch.prefix_ids.shape[1] - 1
    assert {rows for rows, length in sizes if length != prompt} == {1}
    assert len([1 for rows, length in sizes if length != prompt]) == 5 * (1 + 3 + 1)


def test_a_branch_without_a_model_is_named() -> None:
    model, batch = families.network(FAMILY), families.batch(FAMILY, **BATCH)
    with pytest.raises(ValueError, match="branch 't1' of study 's0' has no model; there are: t0, t2"):
        compare(model, batch, {"t0": model, "t2": model}, ROWS, mixed=False)


@pytest.mark.parametrize(("kind", "mixed"), [(SpdKl, False), (SpdMixtureKl, True)])
def test_the_stage_learns_nothing_from_itself_and_something_from_another(kind: type, mixed: bool) -> None:
    """SPD at student = mixture is 0; against another network it is not, and the gradient reaches the adapter alone."""
    losses = []
    for seed in (0, 1):
        student = tiny.student(0).make_trainable(seed=0)
        loss = kind(kind="forward", temperature=1.0, reduction="token_mean")
        stage = SPD(student, loss, OptimSettings(lr=1e-3), steps=1, seed=0)
        stage.set_teachers({"gpt5": tiny.student(seed), "grok.4": tiny.student(seed)})
        stage.log_loss = lambda output, batch, **extra: output
        batch = tiny.collator()([tiny.item(0, {"gpt5": "No edema.", "grok.4": "Severe edema."})])
        output = stage.training_step(batch, 0)
        output.loss.backward()
        moved = {name for name, p in stage.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert all("lora_" in name and name.startswith("student.") for name in moved)
        losses.append((output.loss.item(), bool(moved)))
    assert losses[0][0] == pytest.approx(0, abs=1e-5)
    assert losses[1][0] > 0.01 and losses[1][1]
