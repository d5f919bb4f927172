"""Gradient balance: the norms against plain backward passes, and what the loss does with them."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from apo_lightning.errors import ConfigError
from apo_lightning.functional.preference_variants import rescaled
from apo_lightning.losses import LOSSES
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.apo import APO
from apo_lightning.stages.balance import DECAY, Balance
from apo_lightning.types import PREFERRED
from tests.helpers import loss_batches, tiny

SETTINGS = dict(beta=0.1, nll_weight=0.0, reduction="sum")


def stage(loss: str = "apo_balanced", **student) -> APO:
    made = APO(
        tiny.student(**student).make_trainable(seed=0),
        LOSSES[loss](**SETTINGS),
        OptimSettings(lr=1e-3),
        steps=9,
        seed=0,
    )
    made.log_loss = lambda output, batch, **extra: {"output": output}  # no Trainer here
    return made


def studies(texts: int = 2):
    said = ("No edema.", "Severe edema is seen. I see pneumonia.", "Effusion: yes.")
    return tiny.collator()(
        [tiny.item(i, {PREFERRED: tiny.truth(i), **{f"t{u}": said[u] for u in range(texts)}}) for i in range(2)]
    )


def trained(made: APO) -> list[torch.Tensor]:
    return [p for p in made.student.parameters() if p.requires_grad]


def test_rescaled_by_hand() -> None:
    """d/dz of 3 z^2 at 2 is 12; through a factor of one half 6, at the same value."""
    z = torch.tensor(2.0, requires_grad=True)
    value = 3 * rescaled(z, torch.tensor(0.5)) ** 2
    value.backward()
    assert value == 12 and z.grad == 6


@pytest.mark.parametrize("form", ["pairwise", "listwise"])
def test_the_gradient_of_each_side_is_rescaled_and_no_value_is(form: str) -> None:
    """At a ratio of 0.5 that of t+ by exp(.25), that of the teachers by exp(-.25)."""
    batch = loss_batches.batch()
    out, grad = loss_batches.run(LOSSES["apo_balanced"](**SETTINGS, form=form), batch)
    plain, expected = loss_batches.run(LOSSES[f"apo_{form}"](**SETTINGS), batch)
    torch.testing.assert_close(out.per_study, plain.per_study, rtol=1e-12, atol=0)
    assert expected[:, 0].any() and expected[:, 1:].any()
    torch.testing.assert_close(grad[:, 0], expected[:, 0] * math.exp(0.25), rtol=1e-6, atol=0)
    torch.testing.assert_close(grad[:, 1:], expected[:, 1:] * math.exp(-0.25), rtol=1e-6, atol=0)


def test_the_likelihood_of_the_preferred_answer_is_not_rescaled() -> None:
    batch = loss_batches.batch()
    gradients = {}
    for name in ("apo_balanced", "apo_pairwise"):
        for weight in (0.0, 2.0):
            _, gradients[name, weight] = loss_batches.run(LOSSES[name](**{**SETTINGS, "nll_weight": weight}), batch)
    of_nll = [gradients[name, 2.0] - gradients[name, 0.0] for name in ("apo_balanced", "apo_pairwise")]
    assert of_nll[0].any()
    torch.testing.assert_close(*of_nll, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["joint", "branchwise", "separate"])
def test_norms_are_those_of_separate_backward_passes(mode: str) -> None:
    """One pass over t+ and one over the teachers, weights 1 and 3; then the step's own backward still runs."""
    made, batch = stage(), studies()
    made.student.settings = replace(made.student.settings, scorer=replace(made.student.settings.scorer, mode=mode))
    batch.weight[:, 1:] = torch.tensor([1.0, 3.0])
    norms = []
    for column in (torch.tensor([1.0, 0, 0]), torch.tensor([0, 0.25, 0.75])):
        made.zero_grad()
        (made.student.score(batch).logps * column).sum(-1).mean().backward()
        norms.append(math.sqrt(sum(p.grad.double().square().sum().item() for p in trained(made) if p.grad is not None)))
    made.zero_grad()
    out = made.training_step(batch, 0)["output"]
    assert made.balance.value == pytest.approx(math.log(norms[1] / norms[0]), rel=1e-4)
    assert out.metrics["log_norm_ratio"].item() == pytest.approx(made.balance.value, rel=1e-6)
    out.loss.backward()
    assert any(p.grad.any() for p in trained(made) if p.grad is not None)


def test_the_average_moves_slowly_and_skips_batches_without_pairs() -> None:
    made, batch, balance = stage(), studies(), Balance()
    scores = made.student.score(batch)
    balance.measure(scores, batch, trained(made))
    first = balance.value
    balance.value = first + 1
    balance.measure(scores, batch, trained(made))
    assert balance.value == pytest.approx(DECAY * (first + 1) + (1 - DECAY) * first)
    before, batch.present[:, 1:] = balance.value, False
    balance.measure(scores, batch, trained(made))
    assert balance.value == before and Balance().log_ratio == 0


def test_a_checkpoint_keeps_the_average() -> None:
    made, other, kept = stage(), stage(), {"state_dict": {}}
    made.balance.value = 0.7
    made.on_save_checkpoint(kept)
    other.on_load_checkpoint(kept)
    assert other.balance.value == 0.7


def test_several_processes_are_refused_for_this_loss_alone() -> None:
    for loss in ("apo_balanced", "apo_pairwise"):
        made = stage(loss)
        made._trainer = SimpleNamespace(world_size=2)
        if loss == "apo_pairwise":
            made.on_fit_start()
            continue
        with pytest.raises(ConfigError, match=r"trainer\.devices gives it 2\. Set trainer\.devices=1"):
            made.on_fit_start()
