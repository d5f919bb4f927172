"""Row-wise functions of a large vocabulary's logits, from hidden states and the output head, in chunks of rows.

An autograd loop over chunks bounds nothing, since every chunk's logits stay until the backward. Here the backward is
written out, so that a few buffers of ``chunk_bytes`` are all that is ever held: memory does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

RowFunction = Callable[[Tensor, slice, bool], tuple[Tensor, Tensor | None]]
"""``function(logits [c, V], rows, derivative) -> (values [c], d values / d logits [c, V])``.

``logits`` are those of the rows ``rows`` in float32 (float64 stays). The function may overwrite them and return them as
the derivative, which the caller overwrites. A row's value must depend on that row alone. Where ``derivative`` is False
the second may be None.
"""

CHUNK_BYTES = 33 << 20
"""Bytes of one ``[c, V]`` float32 buffer: just above 32 MiB, up to which glibc may keep what is freed, in pieces."""


def head_token_logps(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, bias: Tensor | None = None, chunk_bytes: int = 2 * CHUNK_BYTES
) -> Tensor:
    """Log-probability of one token per row: ``log softmax(hidden @ weight.T + bias)[target]``.

    Args:
        hidden: ``[M, H]`` hidden state that predicts each token.
        weight: ``[V, H]`` output head, with all the rows it has: padded vocabularies need no care.
        targets: ``[M]`` token ids.
        bias: ``[V]``.
        chunk_bytes: bytes of the one buffer of logits that is held.

    Returns:
        ``[M]`` float32 (float64 stays).

    Raises:
        ValueError: a target outside ``[0, V)``, or what `head_rows` refuses.
    """
    if targets.shape != hidden.shape[:1]:
        raise ValueError(f"targets must be [{len(hidden)}], one a row of hidden, got {list(targets.shape)}")
    if len(targets):
        low, high = (int(x) for x in torch.aminmax(targets))
        if low < 0 or high >= len(weight):
            bad = low if low < 0 else high
            raise ValueError(f"targets must be token ids in [0, {len(weight)}), got {bad}")
    return head_rows(hidden, weight, token_logps_of(targets), bias=bias, chunk_bytes=chunk_bytes)


def token_logps_of(targets: Tensor) -> RowFunction:
    """``log softmax(logits)[target]`` as a row function for targets ``[M]``; it holds no second buffer."""

    def function(logits: Tensor, rows: slice, derivative: bool) -> tuple[Tensor, Tensor | None]:
        wanted = targets[rows, None]
        top = logits.amax(-1, keepdim=True)
        picked = logits.gather(-1, wanted) - top
        total = logits.sub_(top).exp_().sum(-1, keepdim=True)
        values = (picked - total.log())[:, 0]
        if not derivative:
            return values, None
        slope = logits.div_(-total)
        return values, slope.scatter_add_(-1, wanted, torch.ones_like(total))

    return function


def head_rows(
    hidden: Tensor,
    weight: Tensor,
    function: RowFunction,
    *,
    bias: Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """Any scalar of each row's logits ``hidden @ weight.T + bias``, with a closed-form derivative.

    Gradients reach hidden, weight and bias, as far as they ask for one. With a frozen head the derivative of a row is
    known when its value is, so the forward keeps ``d value / d hidden`` and the backward multiplies: two matmuls in
    all, as in a plain pass. A head that is trained costs a fourth one, since the backward makes the logits again; its
    gradient is added up in one ``[V, H]`` buffer, in float32 where the head has fewer bits. Where nothing asks for a
    gradient no derivative is formed. A second backward through the same graph is right, and slower.

    The matmul runs in the dtype that `torch.nn.functional.linear` would use, autocast included; a head of another dtype
    is then cast once a call. Every chunk reads the whole head once: on an accelerator, give ``chunk_bytes`` more.

    Args:
        hidden: ``[M, H]``.
        weight: ``[V, H]``.
        function: see `RowFunction`.
        bias: ``[V]``.
        chunk_bytes: bytes of one ``[c, V]`` buffer of logits; the function may hold more of that size.

    Returns:
        ``[M]`` float32 (float64 stays).

    Raises:
        ValueError: shapes that do not fit, or hidden and weight of two dtypes outside autocast.
    """
    if hidden.dim() != 2 or weight.dim() != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(f"hidden must be [M, H] and weight [V, H], got {list(hidden.shape)} and {list(weight.shape)}")
    tensors = [t for t in (hidden, weight, bias) if t is not None]
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return _HeadRows.apply(hidden, weight, bias, function, matmul_dtype(hidden, weight), chunk_bytes, wanted)


def matmul_dtype(hidden: Tensor, weight: Tensor) -> torch.dtype:
    """The dtype in which ``linear(hidden, weight)`` runs here and now.

    Raises:
        ValueError: they differ and no autocast settles it.
    """
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind) and torch.float64 not in (hidden.dtype, weight.dtype):
        return torch.get_autocast_dtype(kind)
    if hidden.dtype != weight.dtype:
        raise ValueError(
            f"hidden ({hidden.dtype}) and weight ({weight.dtype}) must have one dtype outside autocast; cast either"
        )
    return hidden.dtype


class _Head:
    """The head in the dtype of the matmul, with the buffers that all chunks of ``count`` rows share."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, count: int, chunk_bytes: int) -> None:
        wide = torch.promote_types(dtype, torch.float32)
        most = max(1, chunk_bytes // max(1, len(weight) * wide.itemsize))
        self.count, self.size = count, min(most, max(1, count))
        self.weight, self.bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        self.narrow = self.weight.new_empty(self.size, len(weight))
        self.wide = self.narrow if wide == dtype else torch.empty_like(self.narrow, dtype=wide)

    def chunks(self) -> Iterator[slice]:
        """Slices that cover all rows, the last one perhaps shorter."""
        for start in range(0, self.count, self.size):
            yield slice(start, min(start + self.size, self.count))

    def logits(self, hidden: Tensor) -> Tensor:
        """``[c, H]`` to ``[c, V]``, upcast; they stand until the next call."""
        out, hidden = self.narrow[: len(hidden)], hidden.to(self.weight.dtype)
        if self.bias is None:
            torch.mm(hidden, self.weight.T, out=out)
        else:
            torch.addmm(self.bias, hidden, self.weight.T, out=out)
        return out if self.wide is self.narrow else self.wide[: len(hidden)].copy_(out)

    def narrowed(self, slope: Tensor) -> Tensor:
        """A derivative ``[c, V]`` in the dtype of the matmul."""
        return slope if slope.dtype == self.narrow.dtype else self.narrow[: len(slope)].copy_(slope)


class _HeadRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        function: RowFunction,
        dtype: torch.dtype,
        chunk_bytes: int,
        wanted: bool,
    ) -> Tensor:
        head = _Head(weight, bias, dtype, len(hidden), chunk_bytes)
        frozen = not any(ctx.needs_input_grad[1:3])
        values = torch.empty(len(hidden), dtype=head.wide.dtype, device=hidden.device)
        slope = torch.empty_like(hidden) if wanted and frozen else None
        with torch.autocast(hidden.device.type, enabled=False):
            for rows in head.chunks():
                values[rows], derivative = function(head.logits(hidden[rows]), rows, slope is not None)
                if slope is not None:
                    slope[rows] = head.narrowed(derivative) @ head.weight
        if wanted:
            ctx.save_for_backward(hidden, weight, bias)
            ctx.slope, ctx.plan = slope, (function, dtype, chunk_bytes)
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("head_rows has no second derivative: call backward without create_graph=True")
        # The first backward turns the kept slope into the gradient in place; a second one starts from the logits again.
        slope, ctx.slope = ctx.slope, None
        if slope is not None:
            return slope.mul_(grad[:, None]), *[None] * 6
        with torch.autocast(grad.device.type, enabled=False):
            return *_gradients(ctx.needs_input_grad[:3], ctx.saved_tensors, ctx.plan, grad), *[None] * 4


def _gradients(
    wanted: tuple[bool, ...], saved: tuple[Tensor, Tensor, Tensor | None], plan: tuple[Any, ...], grad: Tensor
) -> list[Tensor | None]:
    """Gradients of hidden, weight and bias, as far as wanted, from logits that are made again."""
    (hidden, weight, bias), (function, dtype, chunk_bytes) = saved, plan
    head = _Head(weight, bias, dtype, len(hidden), chunk_bytes)
    sums = [
        torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32)) if want else None
        for tensor, want in zip((weight, bias), wanted[1:], strict=True)
    ]
    to_hidden = torch.empty_like(hidden) if wanted[0] else None
    for rows in head.chunks():
        slope = function(head.logits(hidden[rows]), rows, True)[1].mul_(grad[rows, None])
        if sums[1] is not None:
            sums[1] += slope.sum(0)
        slope = head.narrowed(slope)
        if to_hidden is not None:
            to_hidden[rows] = slope @ head.weight
        if sums[0] is not None:
            _add_product(sums[0], slope, hidden[rows].to(dtype))
    given = [None if total is None else total.to(t.dtype) for total, t in zip(sums, (weight, bias), strict=True)]
    return [to_hidden, *given]


def _add_product(total: Tensor, slope: Tensor, hidden: Tensor, block: int = 8192) -> None:
    """``total [V, H] += slope [c, V].T @ hidden [c, H]``, block by block of V where total has more bits than they."""
    if total.dtype == slope.dtype:
        total.addmm_(slope.T, hidden)
        return
    for start in range(0, len(total), block):
        total[start : start + block] += slope[:, start : start + block].T @ hidden
