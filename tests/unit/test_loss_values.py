"""Every loss against a value worked out by hand and against its naive twin."""

from __future__ import annotations

import math

import pytest
import torch

from apo_lightning.losses import LOSSES
from tests.helpers import reference_losses as naive

LOG2, LOG3 = math.log(2), math.log(3)
TWINS = {"apo_listwise": "listwise", "apo_pairwise": "pairwise"}


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def preference_batch(rewards, lengths, policy, scale=0.5) -> dict[str, torch.Tensor]:
    """Policy log-probs as given and reference ones that make ``rewards`` at beta ``scale`` with sums."""
    policy = f64(policy)
    return {
        "policy_logps": policy,
        "reference_logps": policy - f64(rewards) / scale,
        "lengths": torch.tensor(lengths),
        "weight": torch.ones_like(policy),
        "present": torch.ones_like(policy, dtype=torch.bool),
    }


def random_batch(studies=6, teachers=4) -> dict[str, torch.Tensor]:
    """Mixed N, one study without a preferred answer, one without teachers, one weight 0."""
    torch.manual_seed(0)
    shape = (studies, 1 + teachers)
    batch = {
        "policy_logps": -30 * torch.rand(shape).double(),
        "reference_logps": -30 * torch.rand(shape).double(),
        "lengths": torch.randint(1, 40, shape),
        "weight": torch.rand(shape).double() + 0.1,
        "present": torch.rand(shape) > 0.3,
    }
    batch["present"][:, 0] = True
    batch["present"][1, 0], batch["present"][2, 1:], batch["weight"][0, 2] = False, False, 0.0
    return batch


def lists(batch: dict[str, torch.Tensor], *names: str) -> list:
    return [batch[name].tolist() for name in names]


def test_apo_listwise_by_hand():
    """r = (log 2, log 3, 0): -log 2/6 = log 3. nll: 4 nats over 2 tokens = 2, times 0.25. Sum log 3 + 0.5."""
    loss = LOSSES["apo_listwise"](beta=0.5, nll_weight=0.25, reduction="sum")
    out = loss(**preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]]))
    assert out.loss.item() == pytest.approx(LOG3 + 0.5, abs=1e-12)


def test_apo_pairwise_by_hand():
    """r = (log 2, log 3, 0): sigmoid 2/5 and 2/3; mean of the logs, -log(4/15) / 2. nll 2, times 3."""
    loss = LOSSES["apo_pairwise"](beta=0.5, nll_weight=3, reduction="sum")
    out = loss(**preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]]))
    assert out.loss.item() == pytest.approx(-math.log(4 / 15) / 2 + 6, abs=1e-12)


def test_dpo_by_hand():
    """r = (log 2, log 3, 0): the drawn teacher gives -log 2/5 or -log 2/3, and 40 seeds meet both."""
    loss = LOSSES["dpo"](beta=0.5, nll_weight=0, reduction="sum")
    batch = preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    seen = {round(loss(**batch, generator=torch.Generator().manual_seed(s)).loss.item(), 9) for s in range(40)}
    assert seen == {round(-math.log(2 / 5), 9), round(-math.log(2 / 3), 9)}


def test_dpo_never_draws_weight_zero():
    loss = LOSSES["dpo"](beta=0.5, nll_weight=0, reduction="sum")
    batch = preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    batch["weight"][0, 1] = 0
    for seed in range(20):
        out = loss(**batch, generator=torch.Generator().manual_seed(seed))
        assert out.loss.item() == pytest.approx(-math.log(2 / 3), abs=1e-12)


def test_reduction_mean_divides_by_each_answers_own_length():
    """Sums of r are (2 log 2, 3 log 3, 0) over (2, 3, 5) tokens: means (log 2, log 3, 0), so log 3 again."""
    loss = LOSSES["apo_listwise"](beta=0.5, nll_weight=0, reduction="mean")
    out = loss(**preference_batch([[2 * LOG2, 3 * LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]]))
    assert out.loss.item() == pytest.approx(LOG3, abs=1e-12)


def test_label_smoothing_by_hand():
    """One teacher, gap log 2, e = 0.1: -0.9 log 2/3 - 0.1 log 1/3 in all three."""
    batch = preference_batch([[LOG2, 0]], [[2, 3]], [[-4, -6]])
    for name in ("apo_listwise", "apo_pairwise", "dpo"):
        loss = LOSSES[name](beta=0.5, nll_weight=0, reduction="sum", label_smoothing=0.1)
        draws = {"generator": torch.Generator()} if name == "dpo" else {}
        expected = -0.9 * math.log(2 / 3) - 0.1 * math.log(1 / 3)
        assert loss(**batch, **draws).loss.item() == pytest.approx(expected, abs=1e-12)


def test_preference_metrics_by_hand():
    """Study 0: r = (1, 0, -1): rejected -0.5, margin 1.5, best. Study 1: r = (0, 3, .) with the last teacher absent:
    rejected 3, margin -3, not best. Study 2 has no teacher: counts for logp_chosen (-4 -2 -6)/3 and nll (2 + 2 + 3)/3
    only. Study 3 has no preferred answer and counts nowhere."""
    rewards = [[1, 0, -1], [0, 3, 50], [7, 8, 9], [9, 9, 9]]
    policy = [[-4, -6, -8], [-2, -3, -99], [-6, -1, -1], [-1, -1, -1]]
    batch = preference_batch(rewards, [[2, 1, 1], [1, 1, 1], [2, 1, 1], [1, 1, 1]], policy)
    batch["present"] = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1]]).bool()
    out = LOSSES["apo_pairwise"](beta=0.5, nll_weight=10, reduction="sum")(**batch)
    first = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    preference = (first + math.log(1 + math.exp(3))) / 3
    expected = {
        "reward_chosen": 0.5, "reward_rejected": 1.25, "margin": -0.75, "accuracy": 0.5,
        "logp_chosen": -4, "logp_rejected": -5, "nll": 7 / 3, "preference": preference,
    }  # fmt: skip
    assert {k: v.item() for k, v in out.metrics.items()} == pytest.approx(expected, abs=1e-6)
    assert out.loss.item() == pytest.approx(preference + 70 / 3, abs=1e-12)
    assert out.per_study.tolist() == pytest.approx([first + 20, math.log(1 + math.exp(3)) + 20, 30, 0], abs=1e-12)


def test_candidates_are_zero_where_absent():
    """A loss that multiplies by weight 0 must not meet a NaN there."""
    batch = preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    batch["present"] = torch.tensor([[True, False, True]])
    batch["policy_logps"][0, 1], batch["reference_logps"][0, 1] = math.nan, math.inf
    seen = LOSSES["apo_listwise"](beta=0.5, nll_weight=0, reduction="sum").candidates(**batch)
    close = torch.testing.assert_close
    close(seen.logps, f64([[-4, 0, -8]]))
    close(seen.rewards, f64([[LOG2, 0, 0]]))
    close(seen.weight, f64([[0, 1]]))
    assert seen.counted.tolist() == [[False, True]] and seen.preferred.tolist() == [True]


def test_spd_nll_by_hand():
    """Weights (1, 3): 1/4 and 3/4. Means a token 2 and 1: 1.25. Sums 4 and 3: 3.25. The second study has no teacher."""
    batch = {
        "logps": f64([[-4, -3], [-1, -1]]), "lengths": torch.tensor([[2, 3], [1, 1]]),
        "weight": f64([[1, 3], [1, 1]]), "present": torch.tensor([[1, 1], [0, 0]]).bool(),
    }  # fmt: skip
    for reduction, expected in {"token_mean": 1.25, "sequence_sum": 3.25}.items():
        out = LOSSES["spd_nll"](reduction=reduction)(**batch)
        assert out.loss.item() == expected and out.per_study.tolist() == [expected, 0]
        assert {k: v.item() for k, v in out.metrics.items()} == {"nll": 1.25, "logp": -3.25}


def test_sft_by_hand():
    """4 nats over 2 tokens and 3 over 3: means 2 and 1, mean 1.5; sums 4 and 3, mean 3.5. The third has no t+."""
    for reduction, expected in {"token_mean": 1.5, "sequence_sum": 3.5}.items():
        out = LOSSES["sft"](reduction=reduction)(
            chosen_logps=f64([-4, -3, -9]), chosen_lengths=torch.tensor([2, 3, 1]),
            chosen_present=torch.tensor([True, True, False]),
        )  # fmt: skip
        assert out.loss.item() == expected
        assert {k: v.item() for k, v in out.metrics.items()} == {"nll": 1.5, "logp_chosen": -3.5}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", TWINS)
def test_preference_equals_naive_twin(name, reduction, smoothing):
    settings = {"beta": 0.3, "nll_weight": 0.7, "reduction": reduction, "label_smoothing": smoothing}
    batch = random_batch()
    got = LOSSES[name](**settings)(**batch)
    names = ("policy_logps", "reference_logps", "lengths", "weight", "present")
    expected = naive.preference(TWINS[name], *lists(batch, *names), **settings)
    assert got.loss.item() == pytest.approx(expected, rel=0, abs=1e-10)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_dpo_draws_every_pair_and_nothing_else(reduction):
    """The draws of DPO are the single pairs of a study: over 60 seeds each is met, and no other value."""
    settings = {"beta": 0.3, "nll_weight": 0.7, "reduction": reduction, "label_smoothing": 0.1}
    batch = {name: value[:1] for name, value in random_batch().items()}
    counted = batch["present"] & (batch["weight"] > 0)
    names = ("policy_logps", "reference_logps", "lengths", "weight", "present")
    expected = set()
    for teacher in counted[0].nonzero().flatten().tolist()[1:]:
        pair = {name: batch[name][:, [0, teacher]] for name in names}
        expected.add(round(naive.preference("pairwise", *lists(pair, *names), **settings), 10))
    loss = LOSSES["dpo"](**settings)
    seen = {round(loss(**batch, generator=torch.Generator().manual_seed(s)).loss.item(), 10) for s in range(60)}
    assert len(expected) > 1 and seen == expected


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_sum"])
def test_spd_and_sft_equal_naive_twins(reduction):
    batch = random_batch()
    logps, lengths, weight, present = (batch[k] for k in ("policy_logps", "lengths", "weight", "present"))
    spd = LOSSES["spd_nll"](reduction=reduction)(logps=logps, lengths=lengths, weight=weight, present=present)
    expected = naive.spd_nll(logps.tolist(), lengths.tolist(), weight.tolist(), present.tolist(), reduction)
    assert spd.loss.item() == pytest.approx(expected, rel=0, abs=1e-10)
    sft = LOSSES["sft"](reduction=reduction)(
        chosen_logps=logps[:, 0], chosen_lengths=lengths[:, 0], chosen_present=present[:, 0]
    )
    expected = naive.sft(logps[:, 0].tolist(), lengths[:, 0].tolist(), present[:, 0].tolist(), reduction)
    assert sft.loss.item() == pytest.approx(expected, rel=0, abs=1e-10)


def test_spd_is_smallest_at_the_mixture():
    """Three texts seen 1, 2 and 5 times by weight: over all distributions q the weighted nll is least at
    q = (1, 2, 5) / 8, where its value is the entropy of the mixture, so the KL is 0."""
    share = f64([[1, 2, 5]])
    shape = {"lengths": torch.ones(1, 3), "weight": share, "present": torch.ones(1, 3).bool()}
    loss = LOSSES["spd_nll"](reduction="sequence_sum")
    scores = (share / 8).log().requires_grad_()
    out = loss(logps=scores.log_softmax(-1), **shape)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(-(share / 8 * (share / 8).log()).sum().item(), abs=1e-12)
    assert scores.grad.abs().max() < 1e-12


def test_every_loss_has_a_value_test():
    """A new built-in loss must come with its value by hand: this file names it."""
    built_in = [name for name, kind in LOSSES.items() if kind.__module__.startswith("apo_lightning.losses.")]
    assert [name for name in built_in if f"test_{name}_by_hand" not in globals()] == []
