"""Sums over tokens, means under a mask."""

from __future__ import annotations

import math

import torch

from apo_lightning.functional.logprobs import length_normalized, masked_mean, sequence_logps


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
