"""Divergences between a teacher's and the student's next-token distributions, row by row, with closed-form slopes.

Both sides are ``softmax(z / temperature)``. With p the teacher, q the student and s = z_student / temperature:

==================  ==================================================  ==================================
kind                value                                               slope, d value / d s
==================  ==================================================  ==================================
``forward``         ``KL(p || q) = sum p log(p / q)``                   ``q - p``
``reverse``         ``R = KL(q || p) = sum q log(q / p)``               ``q (log(q / p) - R)``
``jensen_shannon``  ``b KL(p || m) + (1 - b) KL(q || m)``,              ``(1 - b) q (log(q / m) - KL(q||m))``
                    ``m = b p + (1 - b) q``, b = ``mix`` in (0, 1)
==================  ==================================================  ==================================

Jensen-Shannon is the generalised one of GKD (arXiv 2306.13649), whose b is the teacher's share: divided by b it tends
to ``forward`` for b to 0, divided by 1 - b to ``reverse`` for b to 1. The factor temperature^2 of Hinton et al. (arXiv
1503.02531) is a matter of the loss and not in here. An outcome of probability 0 contributes 0. Where only the student
gives an outcome mass, ``reverse`` is infinite in theory; here the teacher's log-probs stop at `FLOOR`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from apo_lightning.functional.teacher_logits import FullTeacher, TopK, log_softmax_
from apo_lightning.functional.vocabulary import RowFunction

Kind = Literal["forward", "reverse", "jensen_shannon"]
Compare = Callable[..., tuple[Tensor, Tensor | None]]
"""`divergence` with its kind and mix set."""

FLOOR = -104.0
"""Of the teacher's log-probs under ``reverse``: float32 has no probability below e^-104."""

_ZERO = -1e30
"""Stands for log 0: its exponential is 0, and unlike -inf its product with 0 is 0."""


def check_divergence(kind: str, temperature: float, mix: float) -> None:
    """Raises:
    ValueError: names the setting, what is allowed and the value.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if not 0 < mix < 1:
        raise ValueError(f"mix must be in (0, 1), got {mix}")


def divergence(
    teacher: Tensor, student: Tensor, kind: Kind, mix: float = 0.5, derivative: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Value and slope of one divergence; the table above has the equations.

    Args:
        teacher: ``[c, O]`` log-probs of O outcomes, -inf allowed. Overwritten.
        student: ``[c, O]`` likewise, of the same dtype. Overwritten.
        kind: which one.
        mix: the teacher's share in the mixture of ``jensen_shannon``.
        derivative: whether the slope is wanted.

    Returns:
        values ``[c]`` and the slope ``[c, O]`` by the student's logits over the temperature, or None.
    """
    kinds = {"forward": _forward, "reverse": _reverse, "jensen_shannon": _jensen_shannon}
    return kinds[kind](teacher.clamp_min_(_ZERO), student.clamp_min_(_ZERO), mix, derivative)


# In place wherever it can be: with both arguments three tensors of their size are held, four by Jensen-Shannon.
def _forward(log_p: Tensor, log_q: Tensor, mix: float, derivative: bool) -> tuple[Tensor, Tensor | None]:
    p = log_p.exp()
    value = log_p.sub_(log_q).mul_(p).sum(-1)
    return value, log_q.exp_().sub_(p) if derivative else None


def _reverse(log_p: Tensor, log_q: Tensor, mix: float, derivative: bool) -> tuple[Tensor, Tensor | None]:
    gap = log_p.clamp_min_(FLOOR).neg_().add_(log_q)
    q = log_q.exp_()
    value = (q * gap).sum(-1)
    return value, gap.sub_(value[:, None]).mul_(q) if derivative else None


def _jensen_shannon(log_p: Tensor, log_q: Tensor, mix: float, derivative: bool) -> tuple[Tensor, Tensor | None]:
    log_p, log_q = log_p.add_(math.log(mix)), log_q.add_(math.log1p(-mix))  # of b p and (1 - b) q from here on
    log_m = torch.logaddexp(log_p, log_q)
    masses = log_p.exp()
    teachers = log_p.sub_(log_m).sub_(math.log(mix)).mul_(masses).sum(-1)
    masses = torch.exp(log_q, out=masses)
    gap = log_q.sub_(log_m).sub_(math.log1p(-mix))
    students = torch.mul(masses, gap, out=log_m).sum(-1)
    slope = gap.sub_((students / (1 - mix))[:, None]).mul_(masses) if derivative else None
    return teachers + students, slope


def divergence_rows(
    teacher: FullTeacher | TopK, kind: Kind, *, temperature: float = 1.0, mix: float = 0.5
) -> RowFunction:
    """The divergence of a teacher to the student as a function of the student's logits, for `vocabulary.head_rows`.

    Raises:
        ValueError: a setting out of range, or top-k log-probs of another temperature; when rows are asked for, a
            teacher with more tokens than the student.
    """
    check_divergence(kind, temperature, mix)
    compare = partial(divergence, kind=kind, mix=mix)
    if not isinstance(teacher, TopK):
        return partial(_full, teacher, compare, temperature)
    if teacher.temperature != temperature:
        raise ValueError(
            f"the teacher's top-k log-probs were taken at temperature {teacher.temperature}, the divergence asks for "
            f"{temperature}: use one temperature"
        )
    return partial(_top_k, teacher, compare)


def _full(
    teacher: FullTeacher, compare: Compare, temperature: float, logits: Tensor, rows: slice, derivative: bool
) -> tuple[Tensor, Tensor | None]:
    log_p = teacher(rows, temperature).to(logits.dtype)
    shared, beyond = logits[:, : log_p.shape[1]], logits[:, log_p.shape[1] :]
    if shared.shape != log_p.shape:
        raise ValueError(
            f"the teacher gives {list(log_p.shape)} log-probs for logits {list(logits.shape)} of the student; where it "
            "has more tokens, limit it to those that both know (vocabulary=...)"
        )
    values, slope = compare(log_p, log_softmax_(shared, temperature), derivative=derivative)
    if slope is None:
        return values, None
    torch.div(slope, temperature, out=shared)
    beyond.zero_()
    return values, logits


def _top_k(
    teacher: TopK, compare: Compare, logits: Tensor, rows: slice, derivative: bool
) -> tuple[Tensor, Tensor | None]:
    ids, listed = teacher.ids[rows].clamp_min(0), teacher.ids[rows] >= 0
    if ids.numel() and int(ids.max()) >= logits.shape[1]:
        raise ValueError(f"ids must be token ids below {logits.shape[1]}, or -1, got {int(ids.max())}")
    log_q = log_softmax_(logits, teacher.temperature)
    known_q = log_q.gather(1, ids).masked_fill_(~listed, -torch.inf)
    # What is not listed stays; a padded place points at token 0 and must leave it alone.
    log_q.scatter_reduce_(1, ids, torch.where(listed, -torch.inf, torch.inf).to(log_q.dtype), "amin")
    tail_q = log_q.logsumexp(-1, keepdim=True)
    known_p = teacher.logps[rows].to(log_q.dtype).masked_fill(~listed, -torch.inf)
    # Where no token is left for the tail, what rounding left to 1 is no mass.
    left = log1mexp(known_p.logsumexp(-1, keepdim=True)) if teacher.tail is None else teacher.tail[rows, None]
    tail_p = left.to(log_q.dtype).masked_fill(tail_q == -torch.inf, -torch.inf)
    outcomes = torch.cat([known_p, tail_p], 1), torch.cat([known_q, tail_q], 1)
    values, slope = compare(*outcomes, derivative=derivative)
    if slope is None:
        return values, None
    # A token of the tail takes its share q / q_tail of the tail's slope.
    log_q.sub_(tail_q.clamp_min(_ZERO)).exp_().mul_(slope[:, -1:])
    log_q.scatter_add_(1, ids, slope[:, :-1])  # a padded place has slope 0
    return values, log_q.div_(teacher.temperature)


def log1mexp(logp: Tensor) -> Tensor:
    """``log(1 - exp(logp))`` for log-probs, exact near 0 and near -inf; what rounding put above 0 gives -inf."""
    logp = logp.clamp_max(0)
    near = logp > -math.log(2)
    return torch.where(near, torch.log(-torch.expm1(logp)), torch.log1p(-torch.exp(logp)))
