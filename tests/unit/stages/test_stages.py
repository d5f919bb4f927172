"""Stages as Lightning sees them: rewards at step 0, modes of frozen parts, refusals at construction."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from apo_lightning.errors import ConfigError
from apo_lightning.losses import LOSSES
from apo_lightning.losses.spd_nll import SpdNll
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.apo import APO, CHOSEN
from apo_lightning.stages.base import Stage, lr_factor
from apo_lightning.stages.sft import SFT
from apo_lightning.stages.spd import SPD
from apo_lightning.types import PREFERRED, BranchBatch, Scores
from tests.helpers import tiny

WORDS = ("No edema.", "Edema.", "Mild pneumonia.", "Effusion: yes.", "No.", "I see no edema.", "Severe edema is seen.")
PREFERENCE = dict(beta=0.1, nll_weight=0.0, reduction="sum")


def apo(loss: str, seed: int = 0, **adapter) -> APO:
    settings = PREFERENCE if loss != "sft" else {"reduction": "token_mean"}
    student = tiny.student(**adapter).make_trainable(seed=seed)
    stage = APO(student, LOSSES[loss](**settings), OptimSettings(lr=1e-3), steps=10, seed=seed)
    stage.log_loss = lambda output, batch, **extra: {"output": output, **extra}  # no Trainer here
    stage.train()
    return stage


def mixed() -> BranchBatch:
    """Seven studies with 1 to 7 negatives."""
    rows = [{PREFERRED: tiny.truth(n - 1), **{f"t{u}": WORDS[u] for u in range(n)}} for n in range(1, 8)]
    return tiny.collator()([tiny.item(i, row) for i, row in enumerate(rows)])


@pytest.mark.parametrize("adapter", [{"kind": "lora"}, {"kind": "lora", "dropout": 0.3}, {"kind": "full"}])
def test_step_zero_every_reward_is_exactly_zero_for_one_to_seven_negatives(adapter: dict) -> None:
    torch.manual_seed(0)
    output = apo("apo_listwise", **adapter).training_step(mixed(), 0)["output"]
    assert output.metrics["reward_chosen"] == 0 and output.metrics["reward_rejected"] == 0
    want = torch.tensor([math.log(n + 1) for n in range(1, 8)])
    torch.testing.assert_close(output.per_study.detach(), want, atol=1e-6, rtol=0)


def test_a_loss_hands_over_the_rewards_of_the_answers_that_count() -> None:
    """All 0 at step 0; NaN where a teacher is absent or weighs nothing, as the first one of every study here."""
    batch = mixed()
    batch.weight[:, 1] = 0
    rewards = apo("apo_listwise").training_step(batch, 0)["output"].rewards
    counted = batch.present & torch.tensor([True, False, *[True] * 6])
    counted[0] = torch.tensor([True, *[False] * 7])
    assert torch.equal(rewards.isfinite(), counted) and not rewards[counted].any() and not rewards.requires_grad


@pytest.mark.parametrize("loss", ["dpo", "apo_pairwise"])
def test_step_zero_of_the_pairwise_losses_is_log_two(loss: str) -> None:
    output = apo(loss).training_step(mixed(), 0)["output"]
    torch.testing.assert_close(output.per_study.detach(), torch.full((7,), math.log(2)), atol=1e-6, rtol=0)


def test_the_first_update_raises_the_chosen_reward_above_the_rejected() -> None:
    stage = apo("apo_listwise")
    optimizer = torch.optim.SGD([p for p in stage.parameters() if p.requires_grad], lr=0.05)
    stage.training_step(mixed(), 0)["output"].loss.backward()
    optimizer.step()
    assert stage.training_step(mixed(), 1)["output"].metrics["margin"] > 0


def test_the_stage_sft_never_scores_a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in training nor in validation; its loss is that of the same loss in the critique."""
    student, widths = tiny.student().make_trainable(seed=0), []
    stage = SFT(student, LOSSES["sft"](reduction="token_mean"), OptimSettings(lr=1e-3), steps=10, seed=0)
    stage.log_loss = lambda output, batch, **extra: output
    stage.log_validation = lambda output, batch, more: widths.append(len(more[0]))
    score = student.score

    def watched(batch: BranchBatch, *rest: torch.Tensor | None) -> Scores:
        widths.append(batch.present.shape[1])
        return score(batch, *rest)

    monkeypatch.setattr(student, "score", watched)
    batch = mixed()
    loss = stage.training_step(batch, 0).loss
    torch.testing.assert_close(loss, apo("sft").training_step(batch, 0)["output"].loss)
    stage.validation_step(batch, 0)
    assert widths[:2] == [1, 1] and stage.provides == CHOSEN


def test_sft_is_not_charged_for_the_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, widths = apo("sft"), []
    score = stage.student.score

    def watched(batch: BranchBatch, grad_wrt_logps: torch.Tensor | None) -> Scores:
        widths.append(batch.present.shape[1])
        return score(batch, grad_wrt_logps)

    monkeypatch.setattr(stage.student, "score", watched)
    stage.training_step(mixed(), 0)
    assert widths == [1]


def test_dpo_draws_the_same_teacher_when_a_step_is_done_again() -> None:
    values = []
    for _ in range(2):
        stage = apo("dpo", seed=3)
        stage.student.model.get_base_model().lm_head.weight.data.add_(0)  # same weights
        for name, p in stage.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p.data, std=0.05, generator=torch.Generator().manual_seed(1))
        stage.generator.manual_seed(11)
        values.append(stage.training_step(mixed(), 0)["output"].per_study.detach())
    assert torch.equal(*values)


def test_a_loss_that_needs_what_a_stage_lacks_is_refused_when_the_stage_is_built() -> None:
    student = tiny.student().make_trainable(seed=0)
    with pytest.raises(ConfigError, match=r"Loss 'apo_listwise' needs .*reference_token_logps.*'spd'"):
        SPD(student, LOSSES["apo_listwise"](**PREFERENCE), OptimSettings(lr=1e-3), steps=1, seed=0)


def test_training_mode_reaches_dropout_but_not_the_reference() -> None:
    lora = apo("apo_listwise", dropout=0.3)
    assert all(m.training for m in lora.modules() if isinstance(m, torch.nn.Dropout))
    full = apo("apo_listwise", kind="full")
    assert full.student.model.training and not full.student.frozen.training


def test_spd_is_the_weighted_token_mean_by_hand() -> None:
    """Study with teachers a (weight 3, logp -8 over 4 tokens) and b (weight 1, logp -3 over 3 tokens):
    3/4 * 2 + 1/4 * 1 = 1.75."""
    student = tiny.student().make_trainable(seed=0)
    stage = SPD(student, SpdNll(reduction="token_mean"), OptimSettings(lr=1e-3), steps=1, seed=0)
    stage.log_loss = lambda output, batch, **extra: output
    batch = tiny.collator()([tiny.item(0, {"a": "x", "b": "y"})])
    batch = replace(batch, weight=torch.tensor([[3.0, 1.0]]))
    scores = Scores(torch.zeros(1, 2, 4), torch.tensor([[-8.0, -3.0]]), torch.tensor([[4, 3]]))
    stage.student.score = lambda batch, grad_wrt_logps: scores
    assert stage.training_step(batch, 0).loss.item() == pytest.approx(1.75)


def test_the_slope_of_a_linear_loss_by_hand_and_none_for_the_others() -> None:
    """Weights 3 and 1, texts of 4 tokens each: d loss / d logp is -3/4 / 4 and -1/4 / 4."""
    student = tiny.student().make_trainable(seed=0)
    stage = SPD(student, SpdNll(reduction="token_mean"), OptimSettings(lr=1e-3), steps=1, seed=0)
    batch = tiny.collator()([tiny.item(0, {"a": "No edema.", "b": "Edema."})])
    assert batch.branch_mask.sum(-1).tolist() == [[4, 4]]
    grad_wrt_logps = stage.grad_wrt_logps(replace(batch, weight=torch.tensor([[3.0, 1.0]])))
    torch.testing.assert_close(grad_wrt_logps, torch.tensor([[-3 / 16, -1 / 16]]))
    assert apo("apo_listwise").grad_wrt_logps(mixed()) is None
    assert apo("sft").grad_wrt_logps(mixed())[:, 1:].abs().sum() == 0


def test_schedule_by_hand() -> None:
    """Ten steps, two of warm-up, cosine: halves at step 6, where half of the eight decaying steps are gone."""
    at = [lr_factor(s, steps=10, warmup=0.2, schedule="cosine") for s in range(10)]
    assert at[:3] == [0.5, 1.0, 1.0]
    assert at[6] == pytest.approx(0.5)
    assert at[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_checkpoints_hold_what_is_trained() -> None:
    stage = apo("apo_listwise")
    checkpoint = {"state_dict": stage.state_dict()}
    Stage.on_save_checkpoint(stage, checkpoint)
    assert checkpoint["state_dict"] and all("lora_" in name for name in checkpoint["state_dict"])


def test_a_stage_stays_on_its_device_when_lightning_is_done_with_it() -> None:
    """A strategy's teardown calls ``cpu()``; tensors without data could not follow."""
    stage = apo("dpo").to("meta")
    assert stage.cpu() is stage and all(p.is_meta for p in stage.parameters())
