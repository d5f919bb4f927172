"""Scalars of a large vocabulary's logits in chunks: values and gradients of the plain pass, whatever the chunks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from apo_lightning.functional.vocabulary import head_rows, head_token_logps
from tests.helpers import reference_losses as naive

M, H, V = 23, 6, 31
FIVE_ROWS = 5 * V * 8
"""Bytes of a chunk: 5 rows of float64, so that 23 rows make five chunks, the last one shorter."""


def inputs(dtype=torch.float64, head=False, bias=False) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    hidden = torch.randn(M, H, dtype=dtype, requires_grad=True)
    weight = torch.randn(V, H, dtype=dtype, requires_grad=head)
    return hidden, weight, torch.randn(V, dtype=dtype, requires_grad=head) if bias else None, torch.randint(V, (M,))


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    logits = F.linear(hidden, weight, bias)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide.log_softmax(-1).gather(-1, targets[:, None])[:, 0]


def ours(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk_bytes: int = FIVE_ROWS) -> Tensor:
    return head_token_logps(hidden, weight, targets, bias=bias, chunk_bytes=chunk_bytes)


def gradients(values: Tensor, *tensors: Tensor | None) -> list[Tensor]:
    """Under an incoming gradient that differs from row to row, one row of it 0."""
    incoming = torch.linspace(-1, 2, len(values), dtype=values.dtype)
    incoming[3] = 0
    return list(torch.autograd.grad(values, [t for t in tensors if t is not None and t.requires_grad], incoming))


def test_by_hand():
    """Hidden 1, head (0, log 3): 1/4 and 3/4. d log p_1 / d hidden = (1 - 3/4) log 3, d log p_0 = -3/4 log 3."""
    hidden = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([[0.0], [math.log(3)]], dtype=torch.float64)
    got = head_token_logps(hidden, weight, torch.tensor([0, 1]))
    assert got.tolist() == pytest.approx([math.log(0.25), math.log(0.75)], abs=1e-15)
    got.backward(torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert hidden.grad[:, 0].tolist() == pytest.approx([-0.75 * math.log(3), 2 * 0.25 * math.log(3)], abs=1e-15)


def test_equals_naive_twin():
    hidden, weight, _, targets = inputs()
    twin = []
    for state, target in zip(hidden.tolist(), targets.tolist(), strict=True):
        logits = [sum(a * b for a, b in zip(state, row, strict=True)) for row in weight.tolist()]
        twin.append(naive.token_logps([logits, logits], [0, target], [0, 1])[1])
    assert ours(hidden, weight, None, targets).tolist() == pytest.approx(twin, abs=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("chunk_bytes", [1, FIVE_ROWS, 1 << 20])
def test_equals_the_plain_pass(head, bias, chunk_bytes):
    hidden, weight, shift, targets = inputs(head=head, bias=bias)
    got, wanted = ours(hidden, weight, shift, targets, chunk_bytes), plain(hidden, weight, shift, targets)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    pairs = zip(gradients(got, hidden, weight, shift), gradients(wanted, hidden, weight, shift), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("head", [False, True])
def test_gradcheck(head):
    hidden, weight, bias, targets = inputs(head=head, bias=True)
    assert torch.autograd.gradcheck(lambda *tensors: ours(*tensors, targets), (hidden, weight, bias))


def test_only_the_bias_is_trained():
    hidden, weight, bias, targets = inputs(bias=True)
    bias.requires_grad_()
    hidden = hidden.detach()
    (got,), (wanted,) = (gradients(f(hidden, weight, bias, targets), bias) for f in (ours, plain))
    torch.testing.assert_close(got, wanted)


def test_a_retained_graph_can_be_used_again():
    hidden, weight, _, targets = inputs()
    got, wanted = ours(hidden, weight, None, targets), plain(hidden, weight, None, targets)
    first, second = torch.rand(M).double(), torch.rand(M).double()
    for incoming in (first, second):
        (a,) = torch.autograd.grad(got, hidden, incoming, retain_graph=True)
        (b,) = torch.autograd.grad(wanted, hidden, incoming, retain_graph=True)
        torch.testing.assert_close(a, b)


def test_padded_vocabulary_is_scored_over_all_its_rows():
    """Rows beyond the tokenizer's tokens take their share of the mass, as in the model's own head."""
    hidden, weight, _, _ = inputs(head=True)
    targets = torch.randint(V - 7, (M,))
    got, short = ours(hidden, weight, None, targets), ours(hidden, weight[: V - 7], None, targets)
    torch.testing.assert_close(got, plain(hidden, weight, None, targets))
    assert (got < short).all()
    assert gradients(got, weight)[0][V - 7 :].abs().min() > 0


def test_tied_head():
    """Embedding and head are one parameter: its gradient is the sum of both uses."""
    ids, targets = torch.randint(V, (M,)), torch.randint(V, (M,))
    weight = torch.randn(V, H, dtype=torch.float64, requires_grad=True)
    (got,), (wanted,) = (gradients(f(weight[ids].tanh(), weight, None, targets), weight) for f in (ours, plain))
    torch.testing.assert_close(got, wanted)


def counted(calls: list[bool]):
    """Sum of squares of the logits, noting whether a derivative was asked for."""

    def function(logits: Tensor, rows: slice, derivative: bool) -> tuple[Tensor, Tensor | None]:
        calls.append(derivative)
        return logits.square().sum(-1), logits.mul_(2) if derivative else None

    return function


def test_no_derivative_where_nobody_asks():
    calls: list[bool] = []
    hidden, weight, _, _ = inputs()
    with torch.no_grad():
        assert not head_rows(hidden, weight, counted(calls)).requires_grad
    assert not head_rows(hidden.detach(), weight, counted(calls)).requires_grad
    head_rows(hidden, weight.requires_grad_(), counted(calls))  # the trained head: its derivative is the backward's
    assert calls == [False] * 3
    head_rows(hidden, weight.detach(), counted(calls))
    assert calls[3:] == [True]


@pytest.mark.parametrize("head", [False, True])
def test_any_row_function(head):
    """Rows are told apart by the slice they get: each is scaled by its own number."""
    hidden, weight, bias, _ = inputs(head=head, bias=True)
    scale = torch.rand(M, dtype=torch.float64)

    def function(logits: Tensor, rows: slice, derivative: bool) -> tuple[Tensor, Tensor | None]:
        part = scale[rows, None]
        return (part * logits.square()).sum(-1), 2 * part * logits if derivative else None

    got = head_rows(hidden, weight, function, bias=bias, chunk_bytes=FIVE_ROWS)
    wanted = (scale[:, None] * F.linear(hidden, weight, bias).square()).sum(-1)
    torch.testing.assert_close(got, wanted)
    pairs = zip(gradients(got, hidden, weight, bias), gradients(wanted, hidden, weight, bias), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("head", [False, True])
def test_checkpointed(head):
    hidden, weight, _, targets = inputs(head=head)
    call = lambda h: ours(h.tanh(), weight, None, targets)  # noqa: E731
    got = checkpoint(call, hidden, use_reentrant=False)
    pairs = zip(gradients(got, hidden, weight), gradients(call(hidden), hidden, weight), strict=True)
    for a, b in pairs:
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head", [False, True])
def test_low_precision_is_upcast_after_the_matmul(head, dtype):
    """Values are those of the plain pass; gradients have the inputs' dtype and lie as near to float64 as plain ones."""
    hidden, weight, bias, targets = inputs(dtype, head=head, bias=True)
    got, wanted = ours(hidden, weight, bias, targets), plain(hidden, weight, bias, targets)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    exact = [t.detach().double().requires_grad_(t.requires_grad) for t in (hidden, weight, bias)]
    found, rough = gradients(got, hidden, weight, bias), gradients(wanted, hidden, weight, bias)
    for a, b, c in zip(found, rough, gradients(plain(*exact, targets), *exact), strict=True):
        assert a.dtype == dtype
        assert (a.double() - c).abs().max() <= 1.5 * (b.double() - c).abs().max() + 1e-3


def test_gradient_of_a_low_precision_head_is_added_up_in_float32():
    """2,000 rows, one a chunk, push one entry by 1/2 each: a bfloat16 sum would stand still at 256 / 2 = 128."""
    rows = 2000
    hidden = torch.ones(rows, 1, dtype=torch.bfloat16)
    weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    head_token_logps(hidden, weight, torch.zeros(rows, dtype=torch.long), chunk_bytes=1).sum().backward()
    assert weight.grad[:, 0].tolist() == [1000.0, -1000.0]


@pytest.mark.parametrize("given", [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)])
@pytest.mark.parametrize("head", [False, True])
def test_autocast_runs_the_matmul_as_linear_does(head, given):
    hidden, weight, bias, targets = inputs(torch.float32, head=head, bias=True)
    hidden, weight = (
        t.detach().to(d).requires_grad_(t.requires_grad) for t, d in zip((hidden, weight), given, strict=True)
    )
    with torch.autocast("cpu", torch.bfloat16):
        got, wanted = ours(hidden, weight, bias, targets), plain(hidden, weight, bias, targets)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    assert (got - plain(hidden.float(), weight, bias, targets)).abs().max() > 1e-4
    pairs = zip(gradients(got, hidden, weight, bias), gradients(wanted, hidden, weight, bias), strict=True)
    for a, b in pairs:
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.1)


def test_float64_stays_under_autocast():
    hidden, weight, _, targets = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        got = ours(hidden, weight, None, targets)
    torch.testing.assert_close(got, plain(hidden, weight, None, targets), rtol=0, atol=1e-12)


def test_large_logits_stay_finite():
    """Logits of 0 and +-1e4: log-probs 0 and -1e4, a gradient of 0 for what is certain already."""
    hidden = torch.tensor([[1e4], [1e4], [-1e4]], requires_grad=True)
    got = head_token_logps(hidden, torch.tensor([[0.0], [1.0]]), torch.tensor([1, 0, 1]))
    assert got.tolist() == [0, -1e4, -1e4]
    got.sum().backward()
    assert hidden.grad[:, 0].tolist() == [0, -1, 1]


def test_no_rows():
    hidden = torch.zeros(0, H, requires_grad=True)
    for head in (False, True):
        got = ours(hidden, torch.zeros(V, H, requires_grad=head), None, torch.zeros(0, dtype=torch.long))
        got.sum().backward()
        assert got.shape == (0,) and hidden.grad.shape == (0, H)


@pytest.mark.parametrize("target", [-100, -1, V])
def test_a_target_outside_the_vocabulary_is_refused(target):
    hidden, weight, _, targets = inputs()
    targets[7] = target
    with pytest.raises(ValueError, match=rf"targets must be token ids in \[0, {V}\), got {target}"):
        ours(hidden, weight, None, targets)


def test_what_does_not_fit_is_refused():
    hidden, weight, _, targets = inputs()
    with pytest.raises(ValueError, match=r"targets must be \[23\], one a row of hidden, got \[22\]"):
        ours(hidden, weight, None, targets[1:])
    with pytest.raises(ValueError, match=r"got \[23, 6\] and \[31, 5\]"):
        ours(hidden, weight[:, 1:], None, targets)
    with pytest.raises(ValueError, match=r"hidden \(torch.float64\) and weight \(torch.float32\)"):
        ours(hidden, weight.float(), None, targets)


@pytest.mark.parametrize("head", [False, True])
def test_second_derivatives_are_refused(head):
    """A graph of the gradient would lack this part without a word."""
    hidden, weight, _, targets = inputs(head=head)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(ours(hidden, weight, None, targets).sum() + hidden.sum(), hidden, create_graph=True)


@pytest.mark.parametrize("head", [False, True])
def test_no_tensor_of_all_rows_and_the_vocabulary(head):
    """Not one tensor kept for the backward, or made on the way, is as large as half the logits."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = [0]

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **kwargs or {})
            if isinstance(out, Tensor):
                largest[0] = max(largest[0], out.numel())
            return out

    rows, columns = 400, 300
    hidden, weight = torch.randn(rows, 4, requires_grad=True), torch.randn(columns, 4, requires_grad=head)
    with Sizes():
        head_token_logps(
            hidden, weight, torch.zeros(rows, dtype=torch.long), chunk_bytes=20 * columns * 4
        ).sum().backward()
    assert largest[0] == 20 * columns
