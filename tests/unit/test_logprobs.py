"""The next-token shift, sums over tokens, means under a mask."""

from __future__ import annotations

import math

import pytest
import torch

from apo_lightning.functional.logprobs import length_normalized, masked_mean, sequence_logps, token_logps
from tests.helpers import reference_losses as naive


def test_shift_by_hand():
    """V = 2. Logits (0, log 3) give 1/4 and 3/4, (0, 0) give 1/2. Token 1 after the first: log 3/4; token 0 next:
    log 1/2. The last logits predict nothing that is here."""
    logits = torch.tensor([[[0, math.log(3)], [0, 0], [9, -9]]], dtype=torch.float64)
    got = token_logps(logits, torch.tensor([[0, 1, 0]]), torch.tensor([[0, 1, 1]]))
    torch.testing.assert_close(got, torch.tensor([[0, math.log(0.75), math.log(0.5)]], dtype=torch.float64))


def test_position_zero_is_zero_and_unscored_tokens_are_zero():
    got = token_logps(torch.randn(2, 4, 5), torch.ones(2, 4, dtype=torch.long), torch.tensor([[1, 1, 0, 1]] * 2))
    assert (got[:, [0, 2]] == 0).all() and (got[:, [1, 3]] < 0).all()


def test_equals_naive_twin():
    torch.manual_seed(0)
    logits, ids = torch.randn(3, 6, 7, dtype=torch.float64), torch.randint(7, (3, 6))
    mask = torch.tensor([[0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]])
    twin = [naive.token_logps(*row) for row in zip(logits.tolist(), ids.tolist(), mask.tolist(), strict=True)]
    torch.testing.assert_close(
        token_logps(logits, ids, mask), torch.tensor(twin, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_unscored_positions_may_hold_anything():
    """NaN logits, infinite logits and label -100 where the mask is 0 reach neither value nor gradient."""
    logits = torch.zeros(1, 4, 3)
    logits[0, 0], logits[0, 2], logits[0, 3] = math.nan, math.inf, math.nan
    logits.requires_grad_()
    got = token_logps(logits, torch.tensor([[-100, -100, 2, -100]]), torch.tensor([[0, 0, 1, 0]]))
    got.sum().backward()
    torch.testing.assert_close(got, torch.tensor([[0, 0, -math.log(3), 0]]))
    torch.testing.assert_close(logits.grad[0], torch.tensor([[0, 0, 0], [-1 / 3, -1 / 3, 2 / 3], [0, 0, 0], [0, 0, 0]]))


@pytest.mark.parametrize(("given", "expected"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)])
def test_upcast_before_the_sum_over_the_vocabulary(given, expected):
    """1,000 equal logits: log 1000 = 6.9078, which bfloat16 could only give as 6.9062."""
    got = token_logps(torch.zeros(1, 2, 1000, dtype=given), torch.tensor([[0, 5]]), torch.tensor([[0, 1]]))
    assert got.dtype == expected
    assert got[0, 1].item() == pytest.approx(-math.log(1000), abs=1e-5)


def test_sequence_logps_by_hand():
    """-1 - 2 = -3 over two tokens; the -100 and the NaN are masked; a row without tokens gives 0 and 0."""
    values = torch.tensor([[-1.0, -2.0, -100.0], [math.nan, -5.0, math.nan]])
    sums, lengths = sequence_logps(values, torch.tensor([[1, 1, 0], [0, 0, 0]]))
    assert sums.tolist() == [-3.0, 0.0] and lengths.tolist() == [2, 0] and lengths.dtype == torch.int64


def test_sequence_logps_of_branches():
    sums, lengths = sequence_logps(torch.full((2, 3, 4), -0.5), torch.ones(2, 3, 4))
    assert (sums == -2).all() and (lengths == 4).all() and sums.shape == (2, 3)


def test_length_normalized_by_hand():
    """-6 over 3 tokens is -2 a token; 0 over no tokens is 0."""
    assert length_normalized(torch.tensor([-6.0, 0.0]), torch.tensor([3, 0])).tolist() == [-2.0, 0.0]


def test_masked_mean_by_hand():
    """(1 + 5) / 2 = 3; along rows (1 + 5) / 2 = 3 and nothing = 0, with a gradient of 0 there."""
    values = torch.tensor([[1.0, math.nan, 5.0], [7.0, math.nan, 8.0]], requires_grad=True)
    mask = torch.tensor([[1, 0, 1], [0, 0, 0]])
    assert masked_mean(values, mask).item() == 3
    rows = masked_mean(values, mask, dim=-1)
    assert rows.tolist() == [3, 0]
    rows.sum().backward()
    assert values.grad.tolist() == [[0.5, 0, 0.5], [0, 0, 0]]
