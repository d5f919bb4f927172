"""A teacher's next-token distributions, a few rows at a time: from states and a head, mixed, top-k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from apo_lightning.functional.mixture import normalize_weights
from apo_lightning.functional.vocabulary import CHUNK_BYTES, matmul_dtype

FullTeacher = Callable[[slice, float], Tensor]
"""``teacher(rows, temperature) -> [c, V']`` log-probs of those rows at that temperature, a tensor that the caller may
overwrite. V' may be less than the student's vocabulary: the student is then taken over its first V' tokens alone."""


@dataclass(frozen=True)
class TopK:
    """A teacher of whom only the K likeliest tokens are known; all others are one more outcome, the tail.

    Student and teacher are compared on K + 1 outcomes: the tail's mass is what is left to 1 on either side. This is a
    lower bound of the divergence over the whole vocabulary, and equal to it for K = V.

    Attributes:
        ids: ``[M, K]`` token ids, none twice in a row; -1 where a row has fewer.
        logps: ``[M, K]`` their log-probs; anything where the id is -1.
        temperature: the one at which ``logps`` were taken. A tail cannot be brought to another.
        tail: ``[M]`` log of the tail's mass, which float32 does not know to many digits once it is 1 less the rest;
            None: it is what is left to 1.
    """

    ids: Tensor
    logps: Tensor
    temperature: float = 1.0
    tail: Tensor | None = None

    def __post_init__(self) -> None:
        if self.ids.dim() != 2 or self.ids.shape != self.logps.shape:
            raise ValueError(f"ids and logps must be [M, K], got {list(self.ids.shape)} and {list(self.logps.shape)}")
        mass = torch.where(self.ids >= 0, self.logps.float(), -torch.inf).exp().sum(-1)
        bad = ~(mass <= 1.001)
        if bad.any():
            raise ValueError(f"logps must be log-probs whose mass is <= 1, got a row of mass {mass[bad][0].item():.4g}")
        if self.tail is not None:
            self._check_tail(mass)

    def _check_tail(self, mass: Tensor) -> None:
        if self.tail.shape != mass.shape:
            raise ValueError(f"tail must be [{len(mass)}], one a row of logps, got {list(self.tail.shape)}")
        total = mass + self.tail.float().exp()
        bad = ~((total - 1).abs() <= 1e-3)
        if bad.any():
            raise ValueError(f"logps and tail must add up to a mass of 1, got a row of {total[bad][0].item():.4g}")


def head_logits(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None = None, vocabulary: int | None = None
) -> FullTeacher:
    """A teacher given by its last hidden states and its head: logits are made for a few rows at a time.

    Args:
        hidden: ``[M, H]`` of the same tokens as the student's rows.
        weight: ``[V, H]``.
        bias: ``[V]``.
        vocabulary: keep the first so many tokens only, where teacher and student pad one vocabulary differently.
    """
    dtype = matmul_dtype(hidden, weight)
    hidden, weight = hidden.detach(), weight.detach()[:vocabulary].to(dtype)
    bias = None if bias is None else bias.detach()[:vocabulary].to(dtype)

    def teacher(rows: slice, temperature: float) -> Tensor:
        logits = F.linear(hidden[rows].to(dtype), weight, bias)
        return log_softmax_(logits.to(torch.promote_types(dtype, torch.float32)), temperature)

    return teacher


def top_k(
    teacher: FullTeacher,
    count: int,
    k: int,
    *,
    vocabulary: int,
    temperature: float = 1.0,
    chunk_bytes: int = CHUNK_BYTES,
) -> TopK:
    """The K likeliest tokens of each row of a teacher, likeliest first, with the mass of all others.

    Args:
        count: rows M.
        k: how many tokens; all V where there are fewer.
        vocabulary: V.
        chunk_bytes: of one buffer of the log-probs of some rows.

    Returns:
        ``[M, K]`` and a tail ``[M]`` in float32 (float64 stays). The tail is summed over what is left out.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be >= 1, got {k}")
    size = max(1, chunk_bytes // (4 * vocabulary))
    ids, logps, tails = [], [], []
    for start in range(0, count, size):
        rows = teacher(slice(start, min(start + size, count)), temperature)
        known, places = rows.topk(min(k, rows.shape[1]), -1)
        logps.append(known)
        ids.append(places)
        tails.append(rows.scatter_(1, places, -torch.inf).logsumexp(-1))
    if not ids:
        return TopK(torch.zeros(0, k, dtype=torch.long), torch.zeros(0, k), temperature, torch.zeros(0))
    return TopK(torch.cat(ids), torch.cat(logps), temperature, torch.cat(tails))


def mixture(teachers: Sequence[FullTeacher], weight: Tensor) -> FullTeacher:
    """``log sum_u w_u p_u``, the mixture of U teachers at the temperature that is asked for.

    Args:
        teachers: U, all over one vocabulary. Top-k teachers cannot be mixed: their tails are different outcomes.
        weight: ``[U]``, or ``[M, U]`` by row, scaled here to sum 1. What a teacher of weight 0 says is not looked at.
    """
    if len(teachers) != weight.shape[-1]:
        raise ValueError(f"a mixture needs one weight per teacher, got {len(teachers)} teachers and {weight.shape[-1]}")
    rows_weight = weight if weight.dim() == 2 else weight[None]
    share = normalize_weights(rows_weight, torch.ones_like(rows_weight, dtype=torch.bool), total=1.0)

    def mixed(rows: slice, temperature: float) -> Tensor:
        own = share[rows] if weight.dim() == 2 else share
        total: Tensor | None = None
        for teacher, w in zip(teachers, own.unbind(1), strict=True):
            if not w.any():
                continue
            part = teacher(rows, temperature)
            part.add_(w.log().to(part.dtype)[:, None]).masked_fill_(w[:, None] == 0, -torch.inf)
            total = part if total is None else torch.logaddexp(total, part, out=total)
        if total is None:
            raise ValueError(f"a mixture needs a teacher of weight above 0, got weights {own[0].tolist()}")
        return total

    return mixed


def log_softmax_(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``log softmax(logits / temperature)`` over the last dimension, in place."""
    logits.div_(temperature)
    logits.sub_(logits.amax(-1, keepdim=True))
    return logits.sub_(logits.exp().sum(-1, keepdim=True).log_())
