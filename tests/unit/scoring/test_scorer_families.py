"""Joint, branchwise and separate scoring against the model's own forward of one unpadded sequence at a time: values and
every gradient, on each family of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from apo_lightning import scoring
from apo_lightning.scoring import score
from apo_lightning.scoring.image_records import join_images, split_images
from apo_lightning.scoring.prefix import Prefix
from apo_lightning.types import BranchBatch
from tests.helpers import families

MANY = dict(images=(1, 2, 1), words=(9, 5, 12), lengths=((5, 3, 7, 2, 9, 1, 4, 6), (8, 2, 5), (3,)))
"""Three studies: 1+7, 1+2 and 1 branches of unequal lengths; one shows two images; prompts of unequal lengths."""
MODES = [("joint", None), ("joint", 3), ("packed", None), ("branchwise", None), ("branchwise", 4), ("separate", None)]
each_family = pytest.mark.parametrize("family", families.FAMILIES)
each_mode = pytest.mark.parametrize(("mode", "rows"), MODES)
Objective = Callable[[Tensor, Tensor], Tensor]


def one_by_one(model: nn.Module, batch: BranchBatch) -> Tensor:
    """``[B, U, T]`` token log-probs from the model's public forward, nothing padded and nothing shared."""
    token = torch.zeros(batch.branch_ids.shape)
    images, starts = split_images(batch.vision), torch.tensor([0, *batch.image_counts]).cumsum(0).tolist()
    rows = []
    for b, u in batch.present.nonzero().tolist():
        prompt = batch.prefix_ids[b][batch.prefix_mask[b].bool()]
        ids = torch.cat([prompt, batch.branch_ids[b, u][batch.branch_mask[b, u].bool()]])[None]
        inputs = join_images(images[starts[b] : starts[b + 1]])
        inputs.pop("tiles", None)
        if "image_grid_thw" in inputs:
            inputs["mm_token_type_ids"] = (ids == families.IMAGE).int()
        logps = model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits[0].log_softmax(-1)
        places = range(len(prompt), ids.shape[1])
        rows.append((b, u, torch.stack([logps[i - 1, ids[0, i]] for i in places])))
    for b, u, row in rows:
        token = token.index_put((torch.tensor(b), torch.tensor(u), torch.arange(len(row))), row)
    return token


def coupled(token: Tensor, present: Tensor) -> Tensor:
    """An objective in which every branch of a study changes the gradient of every other: listwise over the sums."""
    sums = (0.1 * token.sum(-1)).masked_fill(~present, -torch.inf)
    return (torch.logsumexp(sums, -1) - sums[:, 0]).sum() + (token**2).sum() / 50


def gradients(model: nn.Module, objective: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    objective.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(have: dict[str, Tensor], want: dict[str, Tensor], limit: float = 1e-4) -> None:
    """Relative error of every gradient; one that is zero in exact arithmetic is measured against the largest."""
    assert have.keys() == want.keys()
    floor = 1e-4 * max(float(value.norm()) for value in want.values())
    off = {name: float((have[name] - want[name]).norm()) / max(float(want[name].norm()), floor) for name in want}
    assert max(off.values()) < limit, {name: value for name, value in off.items() if value >= limit}


def compare(model: nn.Module, batch: BranchBatch, **how: Any) -> None:
    want = one_by_one(model, batch)
    expected = gradients(model, coupled(want, batch.present))
    have = score(model, batch, **how).token_logps
    torch.testing.assert_close(have, want, atol=1e-5, rtol=0)
    assert_same(gradients(model, coupled(have, batch.present)), expected)


@each_mode
@each_family
def test_values_and_every_gradient(family: str, mode: str, rows: int | None) -> None:
    compare(families.network(family), families.batch(family, **MANY), mode=mode, rows=rows)


@each_mode
@each_family
def test_adapters(family: str, mode: str, rows: int | None) -> None:
    """LoRA on the language part, frozen otherwise: the tower leaves no graph and the head takes its short way."""
    model = families.network(family)
    config = LoraConfig(r=2, target_modules=r".*(language_model).*(q|k|v|o|gate|up|down)_proj", init_lora_weights=False)
    model = get_peft_model(model, config)
    compare(model, families.batch(family, **MANY), mode=mode, rows=rows)
    assert all("lora_" in name for name, p in model.named_parameters() if p.grad is not None)


@pytest.mark.parametrize("mode", ["joint", "packed", "branchwise"])
@each_family
def test_checkpointed_layers_keep_the_cache(family: str, mode: str) -> None:
    """Training mode, so that the library's checkpointing is on; the expected values come from a model without."""
    model, batch = families.network(family).train(), families.batch(family, **MANY)
    want = one_by_one(model, batch)
    expected = gradients(model, coupled(want, batch.present))
    model.activation_checkpointing_enable({"use_reentrant": False})
    have = score(model, batch, mode=mode, rows=3).token_logps
    torch.testing.assert_close(have, want, atol=1e-5, rtol=0)
    assert_same(gradients(model, coupled(have, batch.present)), expected)


@pytest.mark.parametrize("mode", ["joint", "packed", "branchwise", "separate"])
@each_family
def test_the_tower_sees_every_image_once(family: str, mode: str) -> None:
    model, batch, seen = families.network(family), families.batch(family, **MANY), []
    tower = model.model.get_image_features
    model.model.get_image_features = lambda *args, **kwargs: (seen.append(1), tower(*args, **kwargs))[1]
    coupled(score(model, batch, mode=mode, rows=2).token_logps, batch.present).backward()
    with torch.no_grad():
        score(model, batch, mode=mode)  # the reference pass of the same step
    assert len(seen) == 1


@pytest.mark.parametrize("checkpointed", [False, True])
@each_family
def test_a_slope_known_beforehand_gives_the_gradients_in_one_pass(family: str, checkpointed: bool) -> None:
    model, batch = families.network(family).train(), families.batch(family, **MANY)
    grad_wrt_logps = torch.linspace(-1, 2, batch.present.numel()).view(batch.present.shape) * batch.present
    want = one_by_one(model, batch)
    expected = gradients(model, (grad_wrt_logps * want.sum(-1)).sum() / 4)
    if checkpointed:
        model.activation_checkpointing_enable({"use_reentrant": False})
    passes = []
    model.model.get_decoder().register_forward_pre_hook(lambda *_: passes.append(1))
    scores = score(model, batch, mode="branchwise", rows=4, grad_wrt_logps=grad_wrt_logps)
    torch.testing.assert_close(scores.token_logps, want, atol=1e-5, rtol=0)
    forward = len(passes)
    assert_same(gradients(model, (grad_wrt_logps * scores.logps).sum() / 4), expected)
    assert len(passes) == forward, "the backward ran the decoder again"


def test_a_loss_that_is_not_what_its_slope_said_is_refused() -> None:
    model, batch = families.network("llava"), families.batch("llava", **MANY)
    scores = score(model, batch, mode="branchwise", grad_wrt_logps=batch.present.float())
    with pytest.raises(RuntimeError, match="remove `linear`"):
        coupled(scores.token_logps, batch.present).backward()


@each_family
def test_position_decides(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With branch positions off by one the comparison is far out: a branch goes on exactly where its prompt ends."""
    model, batch, right = families.network(family), families.batch(family, **MANY), scoring.read_prompts

    def off_by_one(*args: Any) -> Prefix:
        prefix = right(*args)
        return replace(prefix, positions=prefix.positions + 1)

    monkeypatch.setattr(scoring, "read_prompts", off_by_one)
    assert (score(model, batch).token_logps - one_by_one(model, batch)).abs().max() > 1e-3


@pytest.mark.parametrize("mode", ["joint", "packed", "branchwise"])
def test_bfloat16_stays_close(mode: str) -> None:
    model, batch = families.network("qwen2_5_vl"), families.batch("qwen2_5_vl", **MANY)
    want = one_by_one(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        have = score(model, batch, mode=mode)
    assert have.token_logps.dtype == torch.float32
    torch.testing.assert_close(have.token_logps, want, atol=0.15, rtol=0)
    have = score(model.to(torch.bfloat16), batch, mode=mode)
    have.logps.sum().backward()
    torch.testing.assert_close(have.token_logps, want, atol=0.3, rtol=0)


def test_dropout_draws_the_same_when_a_chunk_runs_again() -> None:
    """Two-pass branchwise with dropout equals joint with the same chunks and seed, gradients too."""
    model = families.network("llava")
    config = LoraConfig(
        r=2, target_modules=r".*language_model.*(q|v|down)_proj", lora_dropout=0.4, init_lora_weights=False
    )
    model, found = get_peft_model(model, config).train(), []
    for mode in ("joint", "branchwise"):
        torch.manual_seed(5)
        batch = families.batch("llava", **MANY)
        token = score(model, batch, mode=mode, rows=3).token_logps
        found.append((token.detach(), gradients(model, coupled(token, batch.present))))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=0)
    assert_same(found[1][1], found[0][1])


def test_absent_and_empty_branches_score_nothing() -> None:
    model, batch = families.network("llava"), families.batch("llava", **MANY)
    scores = score(model, batch)
    assert scores.lengths[1].tolist() == [8, 2, 5, 0, 0, 0, 0, 0]
    assert scores.token_logps[~batch.branch_mask.bool()].abs().sum() == 0
    batch.present[:] = False
    assert score(model, batch).logps.abs().sum() == 0


def test_a_prompt_that_ends_in_an_image_is_refused() -> None:
    batch = families.batch("llava", **MANY)
    batch.prefix_ids[1, -1] = families.IMAGE
    with pytest.raises(ValueError, match="must end in text"):
        score(families.network("llava"), batch)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, joint, packed, branchwise, separate, got 'fast'"):
        score(families.network("llava"), families.batch("llava"), mode="fast")


@pytest.mark.parametrize(("name", "value"), [("attention_dropout", 0.1), ("layer_types", ["sliding_attention"] * 3)])
def test_a_model_that_cannot_be_packed_is_told_why(name: str, value: Any) -> None:
    model = families.network("llava")
    setattr(model.config.get_text_config(), name, value)
    with pytest.raises(ValueError, match=r"mode 'packed' cannot be used with this model: .*; use joint or branchwise"):
        score(model, families.batch("llava"), mode="packed")


def test_attention_of_another_kind_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match=r"student\.attention is not sdpa"):
        score(families.network("llava", attention="eager"), families.batch("llava"), mode="packed")


@each_family
def test_a_model_that_was_packed_computes_as_before(family: str) -> None:
    """Joint scores, and the model's own forward with a padded batch, bit for bit."""
    model, batch = families.network(family), families.batch(family, **MANY)
    before, whole = score(model, batch).token_logps, one_by_one(model, batch)
    score(model, batch, mode="packed")
    assert torch.equal(score(model, batch).token_logps, before)
    assert torch.equal(one_by_one(model, batch), whole)
