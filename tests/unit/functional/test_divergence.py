"""Divergences of a teacher to the student: by hand, against naive twins in plain floats, and against autograd."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from apo_lightning.functional.divergence import FLOOR, divergence, divergence_rows, log1mexp
from apo_lightning.functional.teacher_logits import TopK, head_logits
from apo_lightning.functional.vocabulary import head_rows
from tests.helpers.given_logits import given_logits

KINDS = ("forward", "reverse", "jensen_shannon")
M, V, K = 7, 11, 4
INF = math.inf
each_kind = pytest.mark.parametrize("kind", KINDS)
close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)


def f64(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    exps = [math.exp(x / temperature) for x in logits]
    return [x / sum(exps) for x in exps]


def naive(kind: str, p: list[float], q: list[float], mix: float = 0.5) -> float:
    """From the definitions; a term of probability 0 is 0."""
    if kind == "forward":
        return sum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x > 0)
    if kind == "reverse":
        return naive("forward", q, p)
    m = [mix * x + (1 - mix) * y for x, y in zip(p, q, strict=True)]
    return mix * naive("forward", p, m) + (1 - mix) * naive("forward", q, m)


def coarse(probs: list[float], ids: list[int]) -> list[float]:
    """Probabilities of the listed tokens and of all others together."""
    return [probs[i] for i in ids] + [sum(x for i, x in enumerate(probs) if i not in ids)]


def plain(kind: str, log_p: Tensor, log_q: Tensor, mix: float) -> Tensor:
    """The same in torch, for autograd; no care for zeros."""
    log_m = torch.log(mix * log_p.exp() + (1 - mix) * log_q.exp())
    kl = lambda a, b: (a.exp() * (a - b)).sum(-1)  # noqa: E731
    if kind == "jensen_shannon":
        return mix * kl(log_p, log_m) + (1 - mix) * kl(log_q, log_m)
    return kl(log_p, log_q) if kind == "forward" else kl(log_q, log_p)


def at(function, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes of a row function at all rows of ``logits``."""
    return function(logits.clone(), slice(0, len(logits)), True)


def pair(dtype=torch.float64) -> tuple[Tensor, Tensor]:
    return 3 * torch.randn(M, V, dtype=dtype), 3 * torch.randn(M, V, dtype=dtype)


@pytest.mark.parametrize(
    ("kind", "value", "slope"),
    [
        ("forward", 0.5 * math.log(4 / 3), -1 / 4),
        ("reverse", 0.75 * math.log(1.5) - 0.25 * math.log(2), -3 / 16 * math.log(3)),
        (
            "jensen_shannon",
            (math.log(4 / 3) + math.log(4 / 5)) / 4 + math.log(2 / 3) / 8 + 3 / 8 * math.log(6 / 5),
            -3 / 32 * math.log(9 / 5),
        ),
    ],
)
def test_by_hand(kind, value, slope):
    """p = (1/2, 1/2), q = (1/4, 3/4), so m = (3/8, 5/8). For two outcomes the slope is +-q_0 q_1 (h_0 - h_1):

    forward q_0 - p_0 = -1/4; reverse 3/16 (log 1/2 - log 3/2); Jensen-Shannon half of 3/16 (log 2/3 - log 6/5)."""
    got = divergence(f64([[0.5, 0.5]]).log(), f64([[0.25, 0.75]]).log(), kind)
    assert got[0].item() == pytest.approx(value, abs=1e-15)
    assert got[1][0].tolist() == pytest.approx([slope, -slope], abs=1e-15)


@each_kind
@pytest.mark.parametrize(("temperature", "mix"), [(1.0, 0.5), (2.0, 0.1), (0.7, 0.9)])
def test_equals_naive_twin(kind, temperature, mix):
    teacher, student = pair()
    rows = zip(teacher.tolist(), student.tolist(), strict=True)
    twin = [naive(kind, softmax(p, temperature), softmax(q, temperature), mix) for p, q in rows]
    close(at(divergence_rows(given_logits(teacher), kind, temperature=temperature, mix=mix), student)[0], f64(twin))


@each_kind
@pytest.mark.parametrize(("temperature", "mix"), [(1.0, 0.5), (2.0, 0.1)])
def test_slope_equals_autograd(kind, temperature, mix):
    teacher, student = pair()
    student.requires_grad_()
    values = plain(kind, (teacher / temperature).log_softmax(-1), (student / temperature).log_softmax(-1), mix)
    (wanted,) = torch.autograd.grad(values.sum(), student)
    function = divergence_rows(given_logits(teacher), kind, temperature=temperature, mix=mix)
    close(at(function, student.detach())[1], wanted)


@each_kind
def test_nothing_to_learn_from_oneself(kind):
    teacher, _ = pair()
    values, slope = at(divergence_rows(given_logits(teacher), kind), teacher)
    close(values, torch.zeros(M).double())
    close(slope, torch.zeros(M, V).double())


@pytest.mark.parametrize(("mix", "kind"), [(1e-6, "forward"), (1 - 1e-6, "reverse")])
def test_jensen_shannon_tends_to_either_kl(mix, kind):
    """b is the teacher's share: near 0 the mixture is the student, near 1 the teacher."""
    teacher, student = (x / 3 for x in pair())
    near, _ = at(divergence_rows(given_logits(teacher), "jensen_shannon", mix=mix), student)
    limit, _ = at(divergence_rows(given_logits(teacher), kind), student)
    torch.testing.assert_close(near / min(mix, 1 - mix), limit, rtol=1e-3, atol=1e-4)


@each_kind
def test_teacher_that_rules_tokens_out(kind):
    """Teacher logits of -inf: forward and Jensen-Shannon as they are, reverse with log-probs that stop at FLOOR."""
    teacher, student = pair()
    teacher[:, 2] = teacher[:, 5] = -INF
    values, slope = at(divergence_rows(given_logits(teacher), kind), student)
    p, q = [softmax(row) for row in teacher.tolist()], [softmax(row) for row in student.tolist()]
    if kind == "reverse":
        p = [[x or math.exp(FLOOR) for x in row] for row in p]
    twin = f64([naive(kind, *rows) for rows in zip(p, q, strict=True)])
    torch.testing.assert_close(values, twin)
    assert slope.isfinite().all() and (slope[:, [2, 5]] > 0).all()


@each_kind
def test_far_apart_in_float32(kind):
    """Logits 2e4 apart: certain of different tokens. KL 2e4 (reverse: the floor), Jensen-Shannon log 2; all finite."""
    teacher, student = torch.tensor([[1e4, -1e4, -INF]]), torch.tensor([[-1e4, 1e4, 0.0]])
    values, slope = at(divergence_rows(given_logits(teacher), kind), student)
    assert values.item() == pytest.approx({"forward": 2e4, "reverse": -FLOOR, "jensen_shannon": math.log(2)}[kind])
    assert slope.isfinite().all()


@each_kind
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_top_k_equals_naive_twin_and_autograd(kind, temperature):
    teacher, student = pair()
    logps = (teacher / temperature).log_softmax(-1)
    known, ids = logps.topk(K)
    function = divergence_rows(TopK(ids, known, temperature), kind, temperature=temperature, mix=0.3)
    values, slope = at(function, student)
    rows = zip(teacher.tolist(), student.tolist(), ids.tolist(), strict=True)
    twin = [
        naive(kind, coarse(softmax(p, temperature), i), coarse(softmax(q, temperature), i), 0.3) for p, q, i in rows
    ]
    close(values, f64(twin))

    student.requires_grad_()
    log_q = (student / temperature).log_softmax(-1)
    listed = torch.zeros(M, V, dtype=torch.bool).scatter(1, ids, True)
    both = [
        torch.cat([x.gather(1, ids), x.masked_fill(listed, -INF).logsumexp(-1, keepdim=True)], 1)
        for x in (logps, log_q)
    ]
    (wanted,) = torch.autograd.grad(plain(kind, *both, 0.3).sum(), student)
    close(slope, wanted)


@each_kind
def test_top_k_of_all_tokens_is_the_full_divergence(kind):
    """In float32, where the listed mass misses 1 by rounding: there is no tail to put it in."""
    teacher, student = pair(torch.float32)
    known, ids = teacher.log_softmax(-1).topk(V)
    for a, b in zip(
        at(divergence_rows(TopK(ids, known), kind), student),
        at(divergence_rows(given_logits(teacher), kind), student),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@each_kind
def test_padded_ids_and_empty_rows(kind):
    """Rows with fewer tokens: -1 and NaN beside them change nothing, also where token 0 is listed or is not."""
    teacher, student = pair()
    teacher[0, 0], teacher[1, 0] = 9, -9
    known, ids = teacher.log_softmax(-1).topk(K)
    short = divergence_rows(TopK(ids[:, :2], known[:, :2]), kind)
    known[:, 2:], ids[:, 2:] = math.nan, -1
    order = [3, 0, 2, 1]
    padded = divergence_rows(TopK(ids[:, order], known[:, order]), kind)
    for a, b in zip(at(padded, student), at(short, student), strict=True):
        close(a, b)
    values, slope = at(divergence_rows(TopK(torch.full_like(ids, -1), known), kind), student)
    assert values.abs().max() < 1e-12 and slope.abs().max() < 1e-12


@each_kind
def test_top_k_without_a_tail(kind):
    """The listed tokens have all the mass: the student's mass elsewhere is pushed down, nothing is NaN."""
    ids, known = torch.tensor([[1, 2]]), f64([[0.5, 0.5]]).log()
    values, slope = at(divergence_rows(TopK(ids, known), kind), torch.zeros(1, 4).double())
    p, q = [0.5, 0.5, math.exp(FLOOR) if kind == "reverse" else 0.0], [0.25, 0.25, 0.5]
    assert values.item() == pytest.approx(naive(kind, p, q))
    assert (slope[0, [0, 3]] > 0).all() and (slope[0, [1, 2]] < 0).all()


def test_top_k_tail_the_student_has_left():
    """Listed mass of the student 1 - 2e-30: its tail is summed, not what rounding leaves of 1 in float32."""
    function = divergence_rows(TopK(torch.tensor([[0]]), torch.tensor([[math.log(0.5)]])), "forward")
    values, slope = at(function, torch.tensor([[0.0, math.log(1e-30), math.log(1e-30)]]))
    assert values.item() == pytest.approx(0.5 * math.log(0.5) + 0.5 * math.log(0.5 / 2e-30), rel=1e-5)
    assert slope[0].tolist() == pytest.approx([0.5, -0.25, -0.25], rel=1e-5)


@each_kind
@pytest.mark.parametrize("head", [False, True])
def test_through_both_heads(kind, head):
    """Teacher and student by hidden states: value and gradients of the plain formula, in chunks of two rows."""
    states, top = torch.randn(M, 3).double(), torch.randn(V, 3).double()
    hidden, weight = torch.randn(M, 5).double().requires_grad_(), torch.randn(V, 5).double().requires_grad_(head)
    function = divergence_rows(head_logits(states, top, bias=torch.ones(V).double()), kind, temperature=1.5, mix=0.3)
    got = head_rows(hidden, weight, function, chunk_bytes=2 * V * 8)
    log_p, log_q = ((a @ b.T / 1.5).log_softmax(-1) for a, b in ((states, top), (hidden, weight)))
    wanted = plain(kind, log_p, log_q, 0.3)
    close(got, wanted)
    incoming = torch.rand(M).double()
    learned = [hidden, weight] if head else [hidden]
    for a, b in zip(*(torch.autograd.grad(x, learned, incoming) for x in (got, wanted)), strict=True):
        close(a, b)


@each_kind
def test_no_slope_unless_asked_and_same_values(kind):
    teacher, student = pair()
    known, ids = teacher.log_softmax(-1).topk(K)
    for source in (given_logits(teacher), TopK(ids, known)):
        function = divergence_rows(source, kind)
        values, slope = function(student.clone(), slice(0, M), False)
        assert slope is None and torch.equal(values, at(function, student)[0])


def test_log1mexp():
    """Near 0 log(-x), far off -exp(x); 0 and what rounding put above it have nothing left."""
    got = log1mexp(f64([-1e-12, -1.0, -50.0, 0.0, 1e-9, -INF]))
    wanted = [math.log(1e-12), math.log(1 - math.exp(-1)), -math.exp(-50), -INF, -INF, 0.0]
    assert got.tolist() == pytest.approx(wanted, rel=1e-11)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "sideways"}, "kind must be one of forward, reverse, jensen_shannon, got 'sideways'"),
        ({"temperature": 0.0}, "temperature must be > 0, got 0.0"),
        ({"temperature": INF}, "temperature must be > 0, got inf"),
        ({"mix": 0.0}, r"mix must be in \(0, 1\), got 0.0"),
        ({"mix": 1.0}, r"mix must be in \(0, 1\), got 1.0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        divergence_rows(given_logits(torch.zeros(1, 2)), **{"kind": "forward", **settings})
