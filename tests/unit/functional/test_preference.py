"""The preference terms by hand, against their twins, and where numbers are large."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from apo_lightning.functional.preference import (
    desensitize_length,
    draw_one,
    implicit_rewards,
    listwise_nll,
    pairwise_nll,
    plackett_luce_nll,
    reward_metrics,
)
from tests.helpers import reference_losses as naive


def ranked_nll(rewards, weight, present, smoothing=0.0):
    """Plackett-Luce with the first teachers ranked highest."""
    rank = torch.arange(weight.shape[1], 0, -1).expand_as(weight)
    return plackett_luce_nll(rewards, weight, present, rank, smoothing)


def naive_ranked(rewards, weight, present, smoothing=0.0):
    return naive.plackett_luce(rewards, weight, present, range(len(weight), 0, -1), smoothing)


TERMS = [(listwise_nll, naive.listwise), (pairwise_nll, naive.pairwise), (ranked_nll, naive_ranked)]
each_term = pytest.mark.parametrize("term", [term for term, _ in TERMS])


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def yes(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.bool)


def test_implicit_rewards_by_hand():
    """0.5 * (-3 - -5) = 1; the reference carries no gradient, the policy beta."""
    policy, reference = f64([-3.0]).requires_grad_(), f64([-5.0]).requires_grad_()
    reward = implicit_rewards(policy, reference, 0.5)
    reward.sum().backward()
    assert reward.tolist() == [1.0] and policy.grad.tolist() == [0.5] and reference.grad is None


def test_listwise_by_hand():
    """r = (log 2, log 3, 0), w = (1, 1): 2 / (2 + 3 + 1) = 1/3. With w = (0.5, 1.5): 2 / (2 + 1.5 + 1.5) = 2/5.
    With the first teacher absent: 2 / (2 + 1) = 2/3."""
    rewards = f64([[math.log(2), math.log(3), 0.0]] * 3)
    weight = f64([[1, 1], [0.5, 1.5], [1, 1]])
    got = listwise_nll(rewards, weight, torch.tensor([[1, 1], [1, 1], [0, 1]]).bool())
    torch.testing.assert_close(got, -f64([1 / 3, 2 / 5, 2 / 3]).log())


def test_pairwise_by_hand():
    """r = (log 2, log 3, 0): sigmoid(log 2/3) = 2/5 and sigmoid(log 2) = 2/3. Equal weights: the mean of their logs;
    weights 1 to 3: a quarter and three quarters."""
    rewards = f64([[math.log(2), math.log(3), 0.0]] * 2)
    got = pairwise_nll(rewards, f64([[1, 1], [0.5, 1.5]]), yes(2, 2))
    a, b = -math.log(2 / 5), -math.log(2 / 3)
    torch.testing.assert_close(got, f64([(a + b) / 2, a / 4 + 3 * b / 4]))


def test_label_smoothing_by_hand():
    """Gap log 2, e = 0.1: sigmoid is 2/3 and 1/3, so -0.9 log 2/3 - 0.1 log 1/3, listwise and pairwise alike."""
    expected = f64([-0.9 * math.log(2 / 3) - 0.1 * math.log(1 / 3)])
    for term in (listwise_nll, pairwise_nll):
        torch.testing.assert_close(term(f64([[math.log(2), 0]]), f64([[1]]), yes(1, 1), 0.1), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("term", "twin"), TERMS)
def test_equals_naive_twin(term, twin, smoothing):
    torch.manual_seed(0)
    rewards, weight = torch.randn(9, 6).double() * 2, torch.rand(9, 5).double()
    present = torch.rand(9, 5) > 0.3
    weight[0, 2], present[1] = 0.0, False
    rows = zip(rewards.tolist(), weight.tolist(), present.tolist(), strict=True)
    expected = f64([twin(*row, smoothing) for row in rows])
    torch.testing.assert_close(term(rewards, weight, present, smoothing), expected, rtol=0, atol=1e-10)


def test_listwise_is_softmax_dpo():
    """S-DPO (arXiv 2406.09215) writes -log sigmoid(-log sum_u exp(r_u - r_+)): the same loss at weights 1."""
    torch.manual_seed(0)
    rewards = torch.randn(20, 8).double() * 3
    got = listwise_nll(rewards, torch.ones(20, 7).double(), yes(20, 7))
    torch.testing.assert_close(got, f64([naive.softmax_dpo(row) for row in rewards.tolist()]), rtol=0, atol=1e-10)


def test_listwise_gradient_is_the_softmax():
    """dL/dr_u = p_u and dL/dr_+ = -(1 - p_+), p the softmax over the N+1; r = 0, N = 3: 1/4 each and -3/4."""
    rewards = torch.zeros(1, 4).double().requires_grad_()
    listwise_nll(rewards, torch.ones(1, 3).double(), yes(1, 3)).sum().backward()
    torch.testing.assert_close(rewards.grad, f64([[-0.75, 0.25, 0.25, 0.25]]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("term", [listwise_nll, pairwise_nll])
def test_weight_two_is_two_teachers(term, smoothing):
    one = term(f64([[0.3, 1.1, -0.4]]), f64([[2, 1]]), yes(1, 2), smoothing)
    two = term(f64([[0.3, 1.1, 1.1, -0.4]]), f64([[1, 1, 1]]), yes(1, 3), smoothing)
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@each_term
def test_huge_gaps_are_finite(term, smoothing, dtype):
    """A gap of -1e4 costs 1e4, one of +1e4 nothing; smoothing 0.1 turns these into 0.9e4 and 0.1e4."""
    rewards = torch.tensor([[0, 1e4], [0, -1e4]], dtype=dtype, requires_grad=True)
    got = term(rewards, torch.ones(2, 1, dtype=dtype), yes(2, 1), smoothing)
    got.sum().backward()
    torch.testing.assert_close(got, torch.tensor([1e4 * (1 - smoothing), 1e4 * smoothing], dtype=dtype))
    pull = torch.tensor([[smoothing - 1, 1 - smoothing], [smoothing, -smoothing]], dtype=dtype)
    torch.testing.assert_close(rewards.grad, pull)


@each_term
def test_small_gaps_between_large_rewards_keep_their_digits(term):
    """float32 has steps of 1/128 near 1e5; only the gap of 1 may matter: log(1 + e) = 1.3133."""
    got = term(torch.tensor([[100000.0, 100001.0]]), torch.ones(1, 1), yes(1, 1))
    assert got.item() == pytest.approx(math.log(1 + math.e), abs=1e-6)


@each_term
def test_gap_of_21_keeps_its_tail(term):
    """log(1 + e^21) = 21 + 7.6e-10, where torch's softplus would give 21."""
    got = term(f64([[0, 21]]), f64([[1]]), yes(1, 1))
    assert got.item() - 21 == pytest.approx(math.log1p(math.exp(-21)), rel=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@each_term
def test_no_negative_is_exactly_zero(term, smoothing):
    """Nobody present, everybody of weight 0, and no columns at all."""
    rewards = f64([[3.0, 1.0], [3.0, 1.0]]).requires_grad_()
    got = term(rewards, f64([[1.0], [0.0]]), torch.tensor([[False], [True]]), smoothing)
    got.sum().backward()
    assert got.tolist() == [0, 0] and rewards.grad.tolist() == [[0, 0], [0, 0]]
    assert term(f64([[3.0]]), torch.zeros(1, 0).double(), yes(1, 0), smoothing).tolist() == [0]


@each_term
def test_absent_teachers_may_hold_anything(term):
    """NaN or infinity in the reward or the weight of an absent teacher: value and gradient as without it."""
    for garbage in (math.nan, math.inf, -math.inf):
        rewards = f64([[0.0, 0.0, garbage]]).requires_grad_()
        got = term(rewards, f64([[1.0, garbage]]), torch.tensor([[True, False]]), 0.1)
        got.sum().backward()
        assert got.item() == pytest.approx(math.log(2))
        torch.testing.assert_close(rewards.grad, f64([[-0.4, 0.4, 0.0]]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@each_term
def test_gradcheck(term, smoothing):
    torch.manual_seed(0)
    weight, present = torch.rand(4, 3).double() + 0.1, torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 1, 0]]).bool()
    rewards = torch.randn(4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda r: term(r, weight, present, smoothing), rewards)


def test_plackett_luce_by_hand():
    """exp r = (2, 3, 1, 6). Ranks 7 > 5 > 0: 2/12 3/10 1/7 in the order given, 2/12 6/10 3/4 turned round. The last two
    tied: 2/12 3/10 alone."""
    rewards = f64([[2, 3, 1, 6]] * 3).log()
    got = plackett_luce_nll(rewards, torch.ones(3, 3), yes(3, 3), f64([[7, 5, 0], [5, 0, 7], [9, 1, 1]]))
    torch.testing.assert_close(got, -f64([2 / 12 * 3 / 10 / 7, 2 / 12 * 6 / 10 * 3 / 4, 2 / 12 * 3 / 10]).log())


def test_plackett_luce_is_the_chance_of_the_order_and_all_orders_make_the_listwise_loss():
    """Over the 24 orders of four teachers: each is the chance of drawing t+ and then the teachers so, and together they
    are the chance that t+ comes first, which is the listwise loss."""
    torch.manual_seed(0)
    rewards, weight, total = torch.randn(1, 5).double(), torch.ones(1, 4).double(), 0.0
    for order in itertools.permutations(range(4)):
        rank = f64([[-order.index(u) for u in range(4)]])
        got = plackett_luce_nll(rewards, weight, yes(1, 4), rank).item()
        chance = naive.order_probability(rewards[0].tolist(), [0, *(1 + u for u in order)])
        assert got == pytest.approx(-math.log(chance), rel=0, abs=1e-10)
        total += math.exp(-got)
    assert -math.log(total) == pytest.approx(listwise_nll(rewards, weight, yes(1, 4)).item(), rel=0, abs=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_plackett_luce_of_one_rank_is_listwise_bit_for_bit(smoothing):
    rewards, weight, present = torch.randn(9, 6), torch.rand(9, 5), torch.rand(9, 5) > 0.3
    got = plackett_luce_nll(rewards, weight, present, torch.full((9, 5), 0.4), smoothing)
    assert torch.equal(got, listwise_nll(rewards, weight, present, smoothing))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_plackett_luce_weight_two_is_two_tied_teachers(smoothing):
    """For a copy that is ranked above another teacher, and for one that is ranked below."""
    for rank in ([5, 3], [3, 5]):
        one = plackett_luce_nll(f64([[0.3, 1.1, -0.4]]), f64([[2, 1]]), yes(1, 2), f64([rank]), smoothing)
        twice = f64([[rank[0], *rank]])
        two = plackett_luce_nll(f64([[0.3, 1.1, 1.1, -0.4]]), f64([[1, 1, 1]]), yes(1, 3), twice, smoothing)
        torch.testing.assert_close(one, two)


def test_desensitize_length_by_hand():
    """Study 0: lengths 3, 2 and 1, of which the last does not count: l_p = 2. Study 1: nothing counts, nothing changes.
    Tokens are counted where the mask is, so a gap is no token."""
    tokens = f64([[1, 2, 4, 8]]).expand(2, 3, 4)
    mask = torch.tensor([[[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]]] * 2)
    counted = torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()
    got = desensitize_length(tokens, mask, counted, 0.5)
    assert got[0].tolist() == [[1, 2, 4, 4], [1, 2, 4, 8], [1, 2, 4, 8]] and torch.equal(got[1], tokens[1])
    counted[0, 2] = True
    assert desensitize_length(tokens, mask, counted, 0.5)[0].tolist() == [[1, 2, 2, 4], [1, 1, 2, 4], [1, 2, 4, 8]]


def test_draw_one_is_uniform_over_the_present():
    """30,000 draws over columns 0, 2 and 3: 10,000 each, standard deviation 82."""
    present = torch.tensor([True, False, True, True]).expand(30_000, 4)
    drawn = draw_one(present, torch.Generator().manual_seed(0))
    assert (drawn.sum(-1) == 1).all() and not (drawn & ~present).any()
    assert all(abs(count - 10_000) < 400 for count in drawn.sum(0)[[0, 2, 3]].tolist())


def test_draw_one_depends_on_the_generator_alone():
    """The same seed gives the same draw, also beside padding; an empty row gives none and uses up its number."""
    present = torch.rand(50, 6, generator=torch.Generator().manual_seed(1)) > 0.5
    present[7] = False
    first = draw_one(present, torch.Generator().manual_seed(0))
    padded = draw_one(torch.cat([present, torch.zeros(50, 3).bool()], 1), torch.Generator().manual_seed(0))
    other = draw_one(present, torch.Generator().manual_seed(2))
    assert torch.equal(first, padded[:, :6]) and not padded[:, 6:].any() and not first[7].any()
    assert not torch.equal(first, other)


def test_reward_metrics_by_hand():
    """Study 0: 2 against 1 and -1: mean 0, margin 2, best. Study 1: ties with a teacher, so not best. Study 2: the
    teacher at 9 does not count: best."""
    rewards = f64([[2, 1, -1], [1, 1, 0], [1, 9, 0]])
    got = reward_metrics(rewards, torch.tensor([[1, 1], [1, 1], [0, 1]]).bool())
    assert {k: v.tolist() for k, v in got.items()} == {
        "reward_chosen": [2, 1, 1],
        "reward_rejected": [0, 0.5, 0],
        "margin": [2, 0.5, 1],
        "accuracy": [1, 0, 1],
    }
