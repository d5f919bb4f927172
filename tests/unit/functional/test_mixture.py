"""Normalising the weights of a study's teachers."""

from __future__ import annotations

import math

import pytest
import torch

from apo_lightning.functional.mixture import normalize_weights
from tests.helpers import reference_losses as naive

WEIGHT = torch.tensor([[1.0, 3.0, 4.0], [2.0, 2.0, 5.0], [7.0, 7.0, 7.0], [0.0, 0.0, 1.0], [0.0, 6.0, 2.0]])
PRESENT = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()


def test_rows_sum_to_one_by_hand():
    """(1, 3, 4) / 8; (2, 2) / 4 with the third absent; nobody; weights all 0; (0, 6, 2) / 8."""
    expected = [[0.125, 0.375, 0.5], [0.5, 0.5, 0], [0, 0, 0], [0, 0, 0], [0, 0.75, 0.25]]
    assert normalize_weights(WEIGHT, PRESENT, 1.0).tolist() == expected


def test_rows_sum_to_count_by_hand():
    """Three teachers: 3/8 of (1, 3, 4); two equal: 1 each; the weight 0 does not count: 2/8 of (6, 2)."""
    expected = [[0.375, 1.125, 1.5], [1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 1.5, 0.5]]
    assert normalize_weights(WEIGHT, PRESENT, "count").tolist() == expected


@pytest.mark.parametrize("total", [1.0, 2.5, "count"])
def test_equals_naive_twin(total):
    twin = [naive.weights(w, p, total) for w, p in zip(WEIGHT.tolist(), PRESENT.tolist(), strict=True)]
    torch.testing.assert_close(normalize_weights(WEIGHT.double(), PRESENT, total), torch.tensor(twin).double())


@pytest.mark.parametrize("total", [1.0, "count"])
def test_scale_of_the_weights_does_not_matter(total):
    torch.testing.assert_close(
        normalize_weights(WEIGHT * 1000, PRESENT, total), normalize_weights(WEIGHT, PRESENT, total)
    )


def test_uniform_weights_of_seven_are_exactly_one():
    for n in range(1, 8):
        assert normalize_weights(torch.ones(1, n), torch.ones(1, n).bool(), "count").tolist() == [[1.0] * n]


def test_carries_no_gradient():
    assert not normalize_weights(WEIGHT.clone().requires_grad_(), PRESENT, 1.0).requires_grad


def test_absent_teachers_may_hold_anything():
    weight = torch.tensor([[1.0, math.nan, -3.0]])
    assert normalize_weights(weight, torch.tensor([[True, False, False]]), 1.0).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf])
def test_bad_weight_is_refused(value):
    with pytest.raises(ValueError, match=f"teacher weights must be finite and >= 0, got {value}"):
        normalize_weights(torch.tensor([[1.0, value]]), torch.ones(1, 2).bool(), 1.0)


def test_bad_total_is_refused():
    with pytest.raises(ValueError, match="total must be > 0 or 'count', got 0"):
        normalize_weights(WEIGHT, PRESENT, 0)
