"""Teachers as a few rows at a time: mixtures, paddings of the vocabulary, top-k; what they give stays as it was."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from apo_lightning.functional.divergence import Kind, divergence_rows
from apo_lightning.functional.teacher_logits import TopK, head_logits, mixture
from tests.helpers.given_logits import given_logits

KINDS: tuple[Kind, ...] = ("forward", "reverse", "jensen_shannon")
M, V, K = 7, 11, 4
each_kind = pytest.mark.parametrize("kind", KINDS)
close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)


def softmax(logits: list[float], temperature: float) -> list[float]:
    exps = [math.exp(x / temperature) for x in logits]
    return [x / sum(exps) for x in exps]


def at(function, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes of a row function at all rows of ``logits``."""
    return function(logits.clone(), slice(0, len(logits)), True)


def pair() -> tuple[Tensor, Tensor]:
    return 3 * torch.randn(M, V).double(), 3 * torch.randn(M, V).double()


def test_mixture_equals_naive_twin():
    first, second = pair()
    weight = torch.rand(M, 2).double() + 0.1
    for given in (weight, weight[0]):
        got = mixture([given_logits(first), given_logits(second)], given)(slice(2, 5), 2.0)
        for row, index in zip(got, range(2, 5), strict=True):
            a, b = (given[index] if given.dim() == 2 else given).tolist()
            p, q = softmax(first[index].tolist(), 2.0), softmax(second[index].tolist(), 2.0)
            twin = [math.log((a * x + b * y) / (a + b)) for x, y in zip(p, q, strict=True)]
            close(row, torch.tensor(twin, dtype=torch.float64))


def test_a_teacher_of_weight_zero_is_not_looked_at():
    first, second = pair()
    second[3:] = math.nan
    weight = torch.ones(M, 2)
    weight[3:, 1] = 0
    got = mixture([given_logits(first), given_logits(second)], weight)(slice(0, M), 1.0)
    close(got[3:], first[3:].log_softmax(-1))
    assert got.isfinite().all() and not torch.equal(got[:3], first[:3].log_softmax(-1))
    with pytest.raises(ValueError, match=r"weight above 0, got weights \[0.0, 0.0\]"):
        mixture([given_logits(first), given_logits(second)], torch.zeros(2))(slice(0, 2), 1.0)
    with pytest.raises(ValueError, match="got 1 teachers and 2"):
        mixture([given_logits(first)], torch.ones(2))


@each_kind
def test_two_paddings_of_one_vocabulary(kind):
    """Teacher padded to 11 rows, student to 10, 8 tokens in truth: both are taken over the 8 alone."""
    states, top, (_, student) = torch.randn(M, 3).double(), torch.randn(V, 3).double(), pair()
    student = student[:, :10]
    function = divergence_rows(head_logits(states, top, vocabulary=8), kind, temperature=2.0)
    values, slope = at(function, student)
    short, wanted = at(divergence_rows(given_logits(states @ top[:8].T), kind, temperature=2.0), student[:, :8])
    close(values, short)
    close(slope[:, :8], wanted)
    assert (slope[:, 8:] == 0).all()
    with pytest.raises(ValueError, match=r"the teacher gives \[7, 11\] log-probs for logits \[7, 10\] of the student"):
        at(divergence_rows(head_logits(states, top), kind), student)


def test_what_the_teacher_gave_is_not_overwritten():
    teacher, student = pair()
    known, ids = teacher.log_softmax(-1).topk(K)
    before = [x.clone() for x in (teacher, known, ids)]
    for kind in KINDS:
        for source in (given_logits(teacher), TopK(ids, known), mixture([given_logits(teacher)], torch.ones(1))):
            at(divergence_rows(source, kind), student)
    assert all(torch.equal(a, b) for a, b in zip(before, (teacher, known, ids), strict=True))


def test_bad_top_k_is_refused():
    ids = torch.tensor([[0, 1]])
    with pytest.raises(ValueError, match=r"got \[1, 2\] and \[1, 1\]"):
        TopK(ids, torch.zeros(1, 1))
    with pytest.raises(ValueError, match="mass is <= 1, got a row of mass 2"):
        TopK(ids, torch.zeros(1, 2))
    half = torch.full((1, 2), math.log(0.5))
    with pytest.raises(ValueError, match=r"taken at temperature 1\.0, the divergence asks for 2\.0"):
        divergence_rows(TopK(ids, half), "forward", temperature=2.0)
    with pytest.raises(ValueError, match="ids must be token ids below 4, or -1, got 4"):
        at(divergence_rows(TopK(ids + 3, half), "forward"), torch.zeros(1, 4))
