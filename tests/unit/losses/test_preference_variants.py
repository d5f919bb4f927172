"""Losses by which other papers vary DPO: by hand, against naive twins, and where they are DPO."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from apo_lightning.functional.preference_variants import agreeing_share, calibrated_nll, hypo_margins
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from tests.helpers import reference_variants as naive
from tests.unit.losses.test_loss_twins import SHARED, lists, random_batch
from tests.unit.losses.test_loss_values import LOG2, LOG3, f64, preference_batch

SUM = {"beta": 0.5, "nll_weight": 0, "reduction": "sum"}


def value(name: str, batch: dict[str, Tensor], **own) -> float:
    return LOSSES[name](**SUM, **own)(**batch).loss.item()


def test_dpop_by_hand():
    """r = (-log 2, -log 3, 0), penalty 1: margins log 3 - 2 log 2 = log 3/4 and -2 log 2 = log 1/4: sigmoids 3/7 and
    1/5. With r_+ = log 2 nothing is paid, whatever the penalty: sigmoids 2/5 and 2/3 against log 3 and 0."""
    batch = preference_batch([[-LOG2, -LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    assert value("dpop", batch, penalty=1) == pytest.approx(-math.log(3 / 7 / 5) / 2, abs=1e-12)
    batch = preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    assert value("dpop", batch) == pytest.approx(-math.log(4 / 15) / 2, abs=1e-12)


def test_dpop_pays_nothing_where_a_run_starts():
    """At r_+ = 0 the gradient is that of DPO, not of 1 + penalty times its part for t+."""
    batch = preference_batch([[0, 0, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    gradients = []
    for name in ("dpop", "apo_pairwise"):
        tokens = batch["policy_token_logps"].clone().requires_grad_()
        LOSSES[name](**SUM)(**{**batch, "policy_token_logps": tokens}).loss.backward()
        gradients.append(tokens.grad)
    assert torch.equal(*gradients)


def test_hypo_by_hand():
    """Log-probs of policy (-4, -6, -3) and rewards (0, 2, 1) at beta 0.5, so that the reference has (-4, -10, -5): it
    prefers t+ by 6 and by 1. Margins: DPO's -2 and -1. A reference of (-4, -2, -5), that prefers the first teacher by
    2: 0.5 (-4 + 6) = 1 in the place of 0.5 (2 + 2) - 1 = 2 of DPO, which still is -1 for the second."""
    policy = [[-4, -6, -3]]
    optimistic = preference_batch([[0, 2, 1]], [[2, 3, 5]], policy)
    both = (math.log(1 + math.exp(2)) + math.log(1 + math.exp(1))) / 2
    assert value("hypo", optimistic) == pytest.approx(both, abs=1e-12)
    assert value("apo_pairwise", optimistic) == pytest.approx(both, abs=1e-12)
    pessimistic = preference_batch([[0, -2, 1]], [[2, 3, 5]], policy)
    both = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert value("hypo", pessimistic) == pytest.approx(both, abs=1e-12)
    together = math.log(1 + math.exp(-1) + math.exp(1))
    assert value("hypo", pessimistic, form="listwise") == pytest.approx(together, abs=1e-12)


def test_hypo_is_the_equation_of_the_paper():
    """beta (D_pi - max(0, D_ref)), computed here from policy and reference and there from rewards."""
    torch.manual_seed(0)
    policy, reference = -50 * torch.rand(2, 40, 6).double()
    expected = 0.3 * (policy[:, :1] - policy[:, 1:] - (reference[:, :1] - reference[:, 1:]).clamp(min=0))
    torch.testing.assert_close(hypo_margins(0.3 * (policy - reference), reference, 0.3), expected)


def test_dpo_shift_by_hand():
    """r = (log 2, log 4, 0) and factor 0.5: margins log 2 - log 2 = 0 and log 2: sigmoids 1/2 and 2/3."""
    batch = preference_batch([[LOG2, 2 * LOG2, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    assert value("dpo_shift", batch, factor=0.5) == pytest.approx(LOG3 / 2, abs=1e-12)


def test_cal_dpo_by_hand():
    """beta 0.5: the target is 1. h = (log 2, 0, -1), so that r is half of it. First teacher: -log 2/3 + (log 2 - 1)^2 +
    1; second: log(1 + exp(-1)/2) + (log 2 - 1)^2 + 0. With weights 3 and 1 the first counts three quarters."""
    batch = preference_batch([[LOG2 / 2, 0, -0.5]], [[2, 3, 5]], [[-4, -6, -8]])
    first, second, chosen = math.log(3 / 2), math.log(1 + math.exp(-1) / 2), (LOG2 - 1) ** 2
    assert value("cal_dpo", batch) == pytest.approx((first + second + 1) / 2 + chosen, abs=1e-12)
    batch["weight"] = f64([[1, 3, 1]])
    expected = 0.75 * (first + 0.5) + 0.25 * second + 0.5 * chosen
    assert value("cal_dpo", batch, calibration=0.5) == pytest.approx(expected, abs=1e-12)


def test_cal_dpo_leaves_out_what_does_not_count_from_value_and_gradient():
    ratios = f64([[1, math.nan, 2], [math.nan, 1, 1]]).requires_grad_()
    weight, present = f64([[0, 1], [1, 1]]), torch.tensor([[True, True], [False, False]])
    found = calibrated_nll(ratios, weight, present, 1.0, 1.0)
    found.sum().backward()
    assert found.tolist() == pytest.approx([math.log(1 + math.exp(1)) + 9, 0], abs=1e-12)
    assert ratios.grad.isfinite().all() and ratios.grad[0, 1] == 0 and not ratios.grad[1].any()


ALONE = [
    ("dpop", {"penalty": 0}, {}),
    ("dpo_shift", {"factor": 1}, {}),
    ("cal_dpo", {"calibration": 0}, {"beta": 1.0}),
    ("hypo", {}, {}),
    ("hypo", {"form": "listwise"}, {}),
]
"""Loss, its settings, and those of DPO with which it is the same for one teacher; HyPO where the reference agrees."""


@pytest.mark.parametrize("how", [{}, {"reduction": "mean"}, {"length_alpha": 0.3}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize(("name", "own", "as_dpo"), ALONE)
def test_one_teacher_is_dpo_where_nothing_is_varied(name, own, as_dpo, how):
    batch = {key: value[:, :2] for key, value in random_batch().items()}
    given, found = {key: batch[key] for key in SHARED}, []
    if name == "hypo":  # t+ is near certain under the reference
        given["reference_token_logps"] = batch["reference_token_logps"] * f64([[[1e-3], [1]]])
        given["mask"] = torch.ones_like(batch["mask"])
    for loss in (LOSSES[name](**{**SUM, **how, **own}), LOSSES["dpo"](**{**SUM, **how, **as_dpo})):
        tokens = given["policy_token_logps"].clone().requires_grad_()
        draws = {"generator": torch.Generator()} if "generator" in needs(loss) else {}
        out = loss(**{**given, "policy_token_logps": tokens}, **draws)
        out.loss.backward()
        found.append((out.per_study, tokens.grad))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    assert found[0][1].any()


TWINS = [
    ("dpop", naive.averaged(naive.dpop, penalty=50.0), {}),
    ("dpop", naive.averaged(naive.dpop, penalty=0.5), {"penalty": 0.5}),
    ("hypo", naive.averaged(naive.hypo), {}),
    ("hypo", naive.hypo_listwise, {"form": "listwise"}),
    ("dpo_shift", naive.averaged(naive.dpo_shift, factor=0.75), {"factor": 0.75}),
    ("cal_dpo", naive.averaged(naive.cal_dpo, calibration=1.0), {}),
    ("cal_dpo", naive.averaged(naive.cal_dpo, calibration=0.5), {"calibration": 0.5}),
]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("reduction", "alpha"), [("sum", 1.0), ("mean", 1.0), ("sum", 0.3)])
@pytest.mark.parametrize(("name", "of_study", "own"), TWINS)
def test_equals_its_naive_twin(name, of_study, own, reduction, alpha, smoothing):
    settings = {
        "beta": 0.03,  # sigmoids of the twins end at a margin of -700
        "nll_weight": 0.7,
        "reduction": reduction,
        "label_smoothing": smoothing,
        "length_alpha": alpha,
    }
    batch = random_batch()
    got = LOSSES[name](**settings, **own)(**{key: batch[key] for key in SHARED})
    expected = naive.preference(of_study, *lists(batch, *SHARED), **settings)
    assert got.loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-10)


def test_share_of_those_who_agree():
    """Of 4 that speak 1 against, of 2 both, of 3 none; nobody speaks."""
    found = agreeing_share(torch.tensor([1, 2, 0, 0]), torch.tensor([4, 2, 3, 0]))
    assert found.tolist() == [0.75, 0, 1, 1]
