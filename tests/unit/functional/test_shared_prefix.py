"""Attention of answers behind a shared prompt against a dense mask written down token by token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from apo_lightning.functional.shared_prefix import Ends, Layout, shared_prefix_attention

PROMPTS, ANSWERS = [3, 2], [[2, 1], [4]]
"""Two studies: 3 prompt tokens with answers of 2 and 1, 2 prompt tokens with an answer of 4."""


def layout() -> Layout:
    each, device = [n for row in ANSWERS for n in row], torch.device("cpu")
    return Layout(
        sum(PROMPTS), *(Ends.of(lengths, device) for lengths in (PROMPTS, each, [sum(row) for row in ANSWERS]))
    )


def may_see() -> Tensor:
    """``[L, L]`` by what each token is: (study, None or number of its answer, place in it)."""
    tokens = [(study, None, i) for study, n in enumerate(PROMPTS) for i in range(n)]
    tokens += [(s, k, i) for s, row in enumerate(ANSWERS) for k, n in enumerate(row) for i in range(n)]
    return torch.tensor(
        [
            [a[0] == b[0] and ((a[1] == b[1] and b[2] <= a[2]) or (a[1] is not None and b[1] is None)) for b in tokens]
            for a in tokens
        ]
    )


def dense(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
    scores = torch.einsum("ahd,bhd->hab", query, key) * scale
    shares = scores.masked_fill(~may_see(), -torch.inf).softmax(-1)
    return torch.einsum("hab,bhd->ahd", shares, value)


def states(heads: int = 4, kv: int = 2, d: int = 3) -> list[Tensor]:
    torch.manual_seed(0)
    length = sum(PROMPTS) + sum(map(sum, ANSWERS))
    return [torch.randn(length, n, d, dtype=torch.float64, requires_grad=True) for n in (heads, kv, kv)]


def test_by_hand() -> None:
    """One head of width 1, keys 0: every token gives the mean of the values that it sees."""
    zero = torch.zeros(12, 1, 1)
    value = torch.arange(12.0).view(12, 1, 1)
    found = shared_prefix_attention(zero, zero, value, layout(), 1.0).flatten()
    first_answer = [(0 + 1 + 2 + 5) / 4, (0 + 1 + 2 + 5 + 6) / 5]
    assert found[:5].tolist() == pytest.approx([0, 0.5, 1, 3, 3.5])
    assert found[5:7].tolist() == pytest.approx(first_answer)
    assert found[7].item() == pytest.approx((0 + 1 + 2 + 7) / 4)
    assert found[8:].tolist() == pytest.approx([(7 + sum(range(8, 9 + i))) / (3 + i) for i in range(4)])


def test_values_and_gradients_are_those_of_a_dense_mask() -> None:
    inputs = states()
    found, wanted = shared_prefix_attention(*inputs, layout(), 0.7), dense(*inputs, 0.7)
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    ours, theirs = (torch.autograd.grad((out * weight).sum(), inputs) for out in (found, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_by_differences() -> None:
    assert torch.autograd.gradcheck(lambda *x: shared_prefix_attention(*x, layout(), 0.7), states(2, 1, 2))


def test_an_answer_does_not_see_the_others() -> None:
    query, key, value = (t.detach() for t in states())
    before = shared_prefix_attention(query, key, value, layout(), 1.0)
    value = value.clone()
    value[5] += 1  # the first token of the first answer
    changed = (shared_prefix_attention(query, key, value, layout(), 1.0) != before).flatten(1).any(1)
    assert changed.nonzero().flatten().tolist() == [5, 6]
