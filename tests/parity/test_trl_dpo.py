"""With one teacher our losses are TRL's: its own loss code is run, on given log-probs instead of a model's."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs

trl = pytest.importorskip("trl", minversion="1.16", reason="needs TRL 1.16: pip install -e '.[bench]'")

BETA, PROMPT = 0.1, 3
ONE_TEACHER = ["apo_listwise", "apo_pairwise", "apo_plackett_luce", "apo_conflict", "dpo"]
each_loss = pytest.mark.parametrize("name", ONE_TEACHER)


class Gather:
    """The accelerator of a single process."""

    device = torch.device("cpu")

    @staticmethod
    def gather(x: Tensor) -> Tensor:
        return x

    gather_for_metrics = gather


class Speaker(torch.nn.Module):
    """A model whose log-probs are known; what TRL only logs is 0."""

    is_gradient_checkpointing = False

    def __init__(self, log_probs: Tensor) -> None:
        super().__init__()
        none = torch.zeros_like(log_probs)
        self.said = SimpleNamespace(log_probs=log_probs, entropy=none, mean_logits=none, is_top1=none.bool())

    def forward(self, **inputs: Any) -> Any:
        return self.said


def pairs(studies: int = 8, tokens: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Policy and reference log-probs ``[B, 2, T]`` float32 and their mask: t+ and one teacher, each of its own length;
    0 where nothing is scored."""
    torch.manual_seed(0)
    lengths = torch.randint(1, tokens + 1, (studies, 2))
    mask = torch.arange(tokens) < lengths[..., None]
    return *(-4 * torch.rand(studies, 2, tokens) * mask for _ in range(2)), mask


def trl_loss(
    policy: Tensor,
    reference: Tensor,
    mask: Tensor,
    *,
    kinds: tuple[str, ...] = ("sigmoid",),
    kind_weights: tuple[float, ...] = (1.0,),
    smoothing: float = 0.0,
    ld_alpha: float | None = None,
) -> tuple[Tensor, dict[str, list[float]]]:
    """Loss and logged metrics of ``DPOTrainer`` on pairs ``[B, 2, T]``, all chosen and then all rejected, each behind a
    prompt."""
    policy, reference, mask = (torch.cat([x[:, 0], x[:, 1]]) for x in (policy, reference, mask))
    completion = torch.cat([torch.zeros(len(mask), PROMPT, dtype=torch.long), mask.long()], dim=1)
    behind_first = torch.zeros(len(mask), PROMPT - 1)
    student, frozen = (Speaker(torch.cat([behind_first, x], dim=1)) for x in (policy, reference))
    logged: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    trainer = SimpleNamespace(
        model=student,
        ref_model=frozen,
        accelerator=Gather(),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        beta=BETA,
        label_smoothing=smoothing,
        ld_alpha=ld_alpha,
        loss_types=kinds,
        loss_weights=kind_weights,
        f_divergence_type="reverse_kl",
        precompute_ref_logps=False,
        aux_loss_enabled=False,
        use_weighting=False,
        _metrics=logged,
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {"input_ids": torch.zeros_like(completion), "completion_mask": completion}
    inputs["attention_mask"] = torch.ones_like(completion)
    return trl.DPOTrainer._compute_loss(trainer, student, inputs, False), dict(logged["train"])


def ours(name: str, policy: Tensor, reference: Tensor, mask: Tensor, **settings: Any) -> Any:
    given = {"beta": BETA, "nll_weight": 0.0, "reduction": "sum"} | settings
    loss = LOSSES[name](**given, **({"order": "agreement"} if name == "apo_plackett_luce" else {}))
    have = {
        "policy_token_logps": policy,
        "reference_token_logps": reference,
        "mask": mask,
        "weight": torch.ones(mask.shape[:2]),
        "present": torch.ones(mask.shape[:2]).bool(),
        "agreement": torch.rand(mask.shape[:2]),
        "conflict": torch.ones_like(mask),
        "generator": torch.Generator(),
    }
    return loss(**{key: have[key] for key in needs(loss)})


def close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, torch.as_tensor(expected), rtol=0, atol=1e-6)


@each_loss
def test_loss_gradient_and_metrics_of_sigmoid_dpo(name: str) -> None:
    policy, reference, mask = pairs()
    policy.requires_grad_()
    expected, logged = trl_loss(policy, reference, mask)
    got = ours(name, policy, reference, mask)
    close(got.loss, expected)
    gradients = (torch.autograd.grad(loss, policy)[0] for loss in (got.loss, expected))
    close(*(gradient[mask] for gradient in gradients))
    names = {
        "reward_chosen": "rewards/chosen",
        "reward_rejected": "rewards/rejected",
        "margin": "rewards/margins",
        "accuracy": "rewards/accuracies",
        "logp_chosen": "logps/chosen",
        "logp_rejected": "logps/rejected",
    }
    for ours_name, theirs in names.items():
        close(got.metrics[ours_name], logged[theirs][0])


@each_loss
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_length_alpha_is_ld_alpha(name: str, alpha: float) -> None:
    given = pairs()
    close(ours(name, *given, length_alpha=alpha).loss, trl_loss(*given, ld_alpha=alpha)[0])


@each_loss
def test_mean_log_probs_are_sigmoid_norm(name: str) -> None:
    given = pairs()
    close(ours(name, *given, reduction="mean").loss, trl_loss(*given, kinds=("sigmoid_norm",))[0])


@each_loss
@pytest.mark.parametrize("study", range(4))
def test_label_smoothing_is_that_of_aot_on_one_pair(name: str, study: int) -> None:
    """TRL smooths no plain sigmoid loss; ``aot`` sorts its batch and on a batch of one pair is conservative DPO."""
    given = [x[study : study + 1] for x in pairs()]
    expected, _ = trl_loss(*given, kinds=("aot",), smoothing=0.2)
    close(ours(name, *given, label_smoothing=0.2).loss, expected)


@each_loss
@pytest.mark.parametrize("study", range(4))
def test_nll_is_the_sft_term_of_one_pair(name: str, study: int) -> None:
    """On one pair, since TRL's term is a mean over the tokens of a batch and ours over its studies."""
    given = [x[study : study + 1] for x in pairs()]
    expected, _ = trl_loss(*given, kinds=("sigmoid", "sft"), kind_weights=(1.0, 0.7))
    close(ours(name, *given, nll_weight=0.7).loss, expected)
