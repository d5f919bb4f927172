"""Attention of answers that stand behind one prompt, without a mask and without a copy of the prompt.

All tokens of a batch lie in one line, prompts first. Prompts see themselves; an answer sees the prompt of its study
and itself. The second is a softmax over two sets of keys, and each set is asked alone: outputs of parts of a softmax
combine by the parts' normalisers (as in FlashAttention, arXiv 2205.14135), and given the whole's output and normaliser
the backward of a part needs nothing of the other parts (as in Ring Attention, arXiv 2310.01889). So any kernel that
returns its normaliser will do. On a GPU in 16 bits that is PyTorch's FlashAttention over lines of unequal length;
elsewhere it is written out below, for tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ends:
    """Where lines of unequal length end in one long line.

    Attributes:
        offsets: ``[S + 1]`` int32, 0 first.
        longest: tokens of the longest line.
    """

    offsets: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> Ends:
        offsets = torch.tensor([0, *lengths], device=device).cumsum(0).int()
        return cls(offsets, max(lengths, default=0))


@dataclass(frozen=True)
class Layout:
    """How one line of tokens is made up: the prompts of S studies, then study after study the answers to each.

    Attributes:
        tokens: of all prompts.
        prompts: ends of the prompts.
        answers: ends of the single answers, counted from the first answer token.
        studies: ends of all answers to a study.
    """

    tokens: int
    prompts: Ends
    answers: Ends
    studies: Ends


def shared_prefix_attention(query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float) -> Tensor:
    """Causal attention of prompts, and of answers to the prompt of their study and to themselves.

    Args:
        query: ``[L, heads, d]``.
        key, value: ``[L, kv_heads, d]``; heads are a multiple of kv_heads.
        layout: of the L tokens.
        scale: factor of the products.

    Returns:
        ``[L, heads, d]``.
    """
    return _SharedPrefix.apply(query, key, value, layout, scale)


class _SharedPrefix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float) -> Tensor:
        parts = list(_parts(layout))
        own, beside, before = [_forward(query, key, value, part, scale) for part in parts]
        whole = torch.logaddexp(beside[1], before[1])
        out = torch.empty_like(query)
        out[: layout.tokens] = own[0]
        out[layout.tokens :] = _weighted(beside, whole) + _weighted(before, whole)
        ctx.save_for_backward(query, key, value, out, own[1], whole, *own[2:], *beside[2:], *before[2:])
        ctx.parts, ctx.scale, ctx.tokens = parts, scale, layout.tokens
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, of_prompts, of_answers, *states = ctx.saved_tensors
        grads = [torch.empty_like(tensor) for tensor in (query, key, value)]
        normalisers = (of_prompts, of_answers, of_answers)
        found = [
            _backward(grad, query, key, value, out, normaliser, part, ctx.scale, states[2 * k : 2 * k + 2])
            for k, (part, normaliser) in enumerate(zip(ctx.parts, normalisers, strict=True))
        ]
        (own_q, own_k, own_v), (beside_q, beside_k, beside_v), (before_q, before_k, before_v) = found
        for total, first, second in (
            (grads[0], own_q, beside_q + before_q),
            (grads[1], own_k + before_k, beside_k),
            (grads[2], own_v + before_v, beside_v),
        ):
            total[: ctx.tokens], total[ctx.tokens :] = first, second
        return *grads, None, None


@dataclass(frozen=True)
class _Part:
    """Which tokens ask which, line by line."""

    asking: slice
    asked: slice
    asking_ends: Ends
    asked_ends: Ends
    causal: bool


def _parts(layout: Layout) -> Iterator[_Part]:
    """Prompts to themselves, answers to themselves, answers to their prompt."""
    prompts, answers = slice(0, layout.tokens), slice(layout.tokens, None)
    yield _Part(prompts, prompts, layout.prompts, layout.prompts, True)
    yield _Part(answers, answers, layout.answers, layout.answers, True)
    yield _Part(answers, prompts, layout.studies, layout.prompts, False)


def _weighted(part: tuple[Tensor, ...], whole: Tensor) -> Tensor:
    """What a part contributes, in the normaliser's precision."""
    out, normaliser = part[:2]
    return out * (normaliser - whole).exp().T[..., None]


def _has_flash(query: Tensor) -> bool:
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)


def _forward(query: Tensor, key: Tensor, value: Tensor, part: _Part, scale: float) -> tuple[Tensor, ...]:
    """Output ``[A, heads, d]``, normaliser ``[heads, A]`` float32, and what the backward wants besides."""
    q, k, v = query[part.asking], key[part.asked], value[part.asked]
    if not _has_flash(query):
        return (*_written_out(q, k, v, part, scale), q.new_empty(0), q.new_empty(0))
    one, other = part.asking_ends, part.asked_ends
    return torch.ops.aten._flash_attention_forward(
        q, k, v, one.offsets, other.offsets, one.longest, other.longest, 0.0, part.causal, False, scale=scale
    )[:4]


def _backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    normaliser: Tensor,
    part: _Part,
    scale: float,
    states: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a part's queries, keys and values, given the whole's output and normaliser."""
    q, k, v = query[part.asking], key[part.asked], value[part.asked]
    slope, out = grad[part.asking].contiguous(), out[part.asking]
    if not _has_flash(query):
        return _written_out_backward(slope, q, k, v, out, normaliser, part, scale)
    one, other = part.asking_ends, part.asked_ends
    return torch.ops.aten._flash_attention_backward(
        slope, q, k, v, out, normaliser, one.offsets, other.offsets, one.longest, other.longest,
        0.0, part.causal, *states, scale=scale,
    )  # fmt: skip


def _lines(part: _Part) -> Iterator[tuple[slice, slice]]:
    ends = zip(part.asking_ends.offsets.tolist(), part.asked_ends.offsets.tolist(), strict=True)
    start = next(ends)
    for end in ends:
        yield slice(start[0], end[0]), slice(start[1], end[1])
        start = end


def _products(q: Tensor, k: Tensor, causal: bool, scale: float) -> Tensor:
    """``[heads, a, b]`` in float32 at least."""
    wide = torch.promote_types(q.dtype, torch.float32)
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    found = torch.einsum("ahd,bhd->hab", q.to(wide), k.to(wide)) * scale
    if causal:
        found = found.masked_fill(torch.ones_like(found[0], dtype=torch.bool).triu(1), -torch.inf)
    return found


def _written_out(q: Tensor, k: Tensor, v: Tensor, part: _Part, scale: float) -> tuple[Tensor, Tensor]:
    outs, normalisers = [q.new_empty(0, *q.shape[1:])], []
    for asking, asked in _lines(part):
        scores = _products(q[asking], k[asked], part.causal, scale)
        values = v[asked].repeat_interleave(q.shape[1] // v.shape[1], 1).to(scores.dtype)
        outs.append(torch.einsum("hab,bhd->ahd", scores.softmax(-1), values).to(q.dtype))
        normalisers.append(scores.logsumexp(-1))
    return torch.cat(outs), torch.cat(normalisers, 1) if normalisers else q.new_empty(q.shape[1], 0)


def _written_out_backward(
    slope: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, normaliser: Tensor, part: _Part, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    groups = q.shape[1] // k.shape[1]
    to_q, to_k, to_v = (torch.zeros_like(tensor) for tensor in (q, k, v))
    for asking, asked in _lines(part):
        scores = _products(q[asking], k[asked], part.causal, scale)
        shares = (scores - normaliser[:, asking, None]).exp()
        up, keys, values = slope[asking].to(shares.dtype), k[asked].to(shares.dtype), v[asked].to(shares.dtype)
        keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
        centre = (up * out[asking].to(shares.dtype)).sum(-1).T[..., None]
        turned = shares * (torch.einsum("ahd,bhd->hab", up, values) - centre) * scale
        to_q[asking] = torch.einsum("hab,bhd->ahd", turned, keys).to(q.dtype)
        to_k[asked] = _over_groups(torch.einsum("hab,ahd->bhd", turned, q[asking].to(shares.dtype)), groups).to(k.dtype)
        to_v[asked] = _over_groups(torch.einsum("hab,ahd->bhd", shares, up), groups).to(v.dtype)
    return to_q, to_k, to_v


def _over_groups(gradient: Tensor, groups: int) -> Tensor:
    """``[b, heads, d]`` to ``[b, kv_heads, d]``."""
    return gradient.unflatten(1, (-1, groups)).sum(2)
