"""Every loss against a value worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from apo_lightning.losses import LOSSES

LOG2, LOG3 = math.log(2), math.log(3)


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def preference_batch(rewards, lengths, policy, scale=0.5) -> dict[str, torch.Tensor]:
    """Answers whose log-probs sum to ``policy`` and whose rewards are as given at beta ``scale`` with sums; both are
    spread evenly over an answer's tokens."""
    lengths = torch.tensor(lengths)
    mask = torch.arange(int(lengths.max())) < lengths[..., None]
    policy, ratio = (torch.where(mask, (f64(x) / lengths)[..., None], 0) for x in (policy, rewards))
    shape = mask.shape[:2]
    return {
        "policy_token_logps": policy,
        "reference_token_logps": policy - ratio / scale,
        "mask": mask,
        "weight": torch.ones(shape).double(),
        "present": torch.ones(shape).bool(),
    }


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


def test_apo_plackett_luce_by_hand():
    """r = (log 2, log 3, 0). The second teacher above the first: log 3 for t+, as listwise, then -log 1/(1+3).
    Tied, there is no second term. With weights 1 to 3 in the order (they rank, and count once): log 12 again. With
    weights 0.5 and 1.5 beside the agreement: -log 2/(2+1.5+1.5), and one and a half times -log 1/(1+1.5)."""
    batch = preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    by_weight, by_agreement = (
        LOSSES["apo_plackett_luce"](beta=0.5, nll_weight=0, reduction="sum", order=order)
        for order in ("weight", "agreement")
    )
    agreement, tied = f64([[math.nan, 0.2, 0.8]]), f64([[0, 0.5, 0.5]])
    assert by_agreement(**batch, agreement=agreement).loss.item() == pytest.approx(math.log(12), abs=1e-12)
    assert by_agreement(**batch, agreement=tied).loss.item() == pytest.approx(LOG3, abs=1e-12)
    assert by_weight(**batch, agreement=agreement).loss.item() == pytest.approx(LOG3, abs=1e-12)
    batch["weight"] = f64([[9, 1, 3]])
    assert by_weight(**batch, agreement=tied).loss.item() == pytest.approx(math.log(12), abs=1e-12)
    assert by_agreement(**batch, agreement=agreement).loss.item() == pytest.approx(2.5 * math.log(2.5), abs=1e-12)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_apo_plackett_luce_refuses_an_agreement_outside_its_range(value):
    batch = preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    loss = LOSSES["apo_plackett_luce"](beta=0.5, nll_weight=0, reduction="sum", order="agreement")
    with pytest.raises(ValueError, match=r"agreement must be in \[0, 1\], got"):
        loss(**batch, agreement=f64([[0, 0.5, value]]))


def test_apo_conflict_by_hand():
    """Log-ratios of tokens: t+ (log 2, log 3), the first teacher (7, log 4, log 2), the second (9, 9, 0), beta 1. The
    first conflicts in its last two tokens: r_1 = log 8, against r_+ = log 6 of the whole t+: -log 6/14. The second has
    no conflict and does not count, so that the first has weight 1 whatever is given. logp_rejected is that of its whole
    text, 3 tokens of -1."""
    ratio = f64([[[LOG2, LOG3, 0], [7, math.log(4), LOG2], [9, 9, 0]]])
    conflict = torch.tensor([[[0, 0, 0], [0, 1, 1], [0, 0, 0]]]).bool()
    policy = -torch.ones_like(ratio)
    batch = {
        "policy_token_logps": policy,
        "reference_token_logps": policy - ratio,
        "conflict": conflict,
        "mask": torch.tensor([[[1, 1, 0], [1, 1, 1], [1, 1, 0]]]).bool(),
        "weight": f64([[1, 1, 5]]),
        "present": torch.ones(1, 3).bool(),
    }
    loss = LOSSES["apo_conflict"](beta=1, nll_weight=0, reduction="sum")
    out = loss(**batch)
    assert out.loss.item() == pytest.approx(-math.log(6 / 14), abs=1e-12)
    assert out.metrics["logp_rejected"] == -3
    nobody = loss(**{**batch, "conflict": torch.zeros_like(conflict)})
    assert nobody.loss == 0 and nobody.metrics["logp_rejected"] == 0


def test_length_alpha_by_hand():
    """Log-ratios: t+ (1, 2, 4), teachers (3) and (2, 8), beta 1, alpha 0.5. The shortest answer has one token:
    r = 1 + 6/2 = 4, 3, 2 + 8/2 = 6. With the one-token teacher at weight 0 the shortest has two: r_+ = 3 + 4/2 = 5
    and r = 10. The nll is that of the whole t+, (1 + 1 + 1)/3 times 7."""
    ratio = f64([[[1, 2, 4], [3, 0, 0], [2, 8, 0]]])
    mask = torch.tensor([[[1, 1, 1], [1, 0, 0], [1, 1, 0]]]).bool()
    policy = -torch.ones_like(ratio)
    batch = {
        "policy_token_logps": policy,
        "reference_token_logps": policy - ratio,
        "mask": mask,
        "weight": f64([[1, 1, 1]]),
        "present": torch.ones(1, 3).bool(),
    }
    loss = LOSSES["apo_pairwise"](beta=1, nll_weight=7, reduction="sum", length_alpha=0.5)
    both = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2
    assert loss(**batch).loss.item() == pytest.approx(both + 7, abs=1e-12)
    batch["weight"] = f64([[1, 0, 1]])
    assert loss(**batch).loss.item() == pytest.approx(math.log(1 + math.exp(5)) + 7, abs=1e-12)


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
        "reward_chosen": 0.5,
        "reward_rejected": 1.25,
        "margin": -0.75,
        "accuracy": 0.5,
        "logp_chosen": -4,
        "logp_rejected": -5,
        "nll": 7 / 3,
        "preference": preference,
    }
    assert {k: v.item() for k, v in out.metrics.items()} == pytest.approx(expected, abs=1e-6)
    assert out.loss.item() == pytest.approx(preference + 70 / 3, abs=1e-12)
    assert out.per_study.tolist() == pytest.approx([first + 20, math.log(1 + math.exp(3)) + 20, 30, 0], abs=1e-12)


def test_candidates_are_zero_where_absent():
    """A loss that multiplies by weight 0 must not meet a NaN there."""
    batch = preference_batch([[LOG2, LOG3, 0]], [[2, 3, 5]], [[-4, -6, -8]])
    batch["present"] = torch.tensor([[True, False, True]])
    batch["policy_token_logps"][0, 1], batch["reference_token_logps"][0, 1] = math.nan, math.inf
    seen = LOSSES["apo_listwise"](beta=0.5, nll_weight=0, reduction="sum").candidates(**batch)
    close = torch.testing.assert_close
    close(seen.logps, f64([[-4, 0, -8]]))
    close(seen.rewards, f64([[LOG2, 0, 0]]))
    close(seen.weight, f64([[0, 1]]))
    assert seen.counted.tolist() == [[False, True]] and seen.preferred.tolist() == [True]


def test_spd_nll_by_hand():
    """Weights (1, 3): 1/4 and 3/4. Means a token 2 and 1: 1.25. Sums 4 and 3: 3.25. The second study has no teacher."""
    batch = {
        "logps": f64([[-4, -3], [-1, -1]]),
        "lengths": torch.tensor([[2, 3], [1, 1]]),
        "weight": f64([[1, 3], [1, 1]]),
        "present": torch.tensor([[1, 1], [0, 0]]).bool(),
    }
    for reduction, expected in {"token_mean": 1.25, "sequence_sum": 3.25}.items():
        out = LOSSES["spd_nll"](reduction=reduction)(**batch)
        assert out.loss.item() == expected and out.per_study.tolist() == [expected, 0]
        assert {k: v.item() for k, v in out.metrics.items()} == {"nll": 1.25, "logp": -3.25}


def test_sft_by_hand():
    """4 nats over 2 tokens and 3 over 3: means 2 and 1, mean 1.5; sums 4 and 3, mean 3.5. The third has no t+."""
    for reduction, expected in {"token_mean": 1.5, "sequence_sum": 3.5}.items():
        out = LOSSES["sft"](reduction=reduction)(
            chosen_logps=f64([-4, -3, -9]),
            chosen_lengths=torch.tensor([2, 3, 1]),
            chosen_present=torch.tensor([True, True, False]),
        )
        assert out.loss.item() == expected
        assert {k: v.item() for k, v in out.metrics.items()} == {"nll": 1.5, "logp_chosen": -3.5}


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
    """A new built-in loss must come with its value by hand: some unit test of such a kind names it."""
    built_in = [name for name, kind in LOSSES.items() if kind.__module__.startswith("apo_lightning.losses.")]
    texts = [path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py")]
    by_hand = "".join(text for text in texts if "_by_hand(" in text)
    assert [name for name in built_in if f'"{name}"' not in by_hand] == []
