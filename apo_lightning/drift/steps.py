"""Divergence over reasoning steps: how far apart the teachers' next-token distributions are under one common scorer.

The state of teacher u at token j is what it has written so far and the distribution of what comes next, given image and
question (arXiv 2510.04142): ``z_j = q(. | image, question, tau_u[:j])``. Teachers that give text alone have no
distribution of their own, so q is one model for all of them: the student, or one that is named. Texts have different
lengths and words, so tokens are not compared one by one, which is far apart for any two texts. A step (the k-th of K
parts of equal length, or the k-th sentence) has the mean of ``z_j`` over its tokens,

    ``p_uk = mean_{j in step k of u} z_j``,   ``D_k(u, v) = JS(p_uk, p_vk)``  in bits, 0 alike, 1 nothing in common.

Few tokens make any two means differ. `StepDistances.half` therefore has the same of every other token: between two
teachers, and on its diagonal between the two halves of one teacher's own step. Where the former is no larger than the
latter, the teachers are no further apart than one teacher is from itself.

The vocabulary is walked in chunks: of M tokens, ``[M, V]`` is never held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apo_lightning.batching.collate import Collator
from apo_lightning.drift.curves import Curve, mean
from apo_lightning.drift.segments import sentence_spans, token_positions, token_sentences
from apo_lightning.functional.vocabulary import CHUNK_BYTES, head_rows, matmul_dtype
from apo_lightning.types import BranchBatch, Example

ROWS = 4096
"""Tokens of a block."""


class Scorer(Protocol):
    """The common model: `models.student.Student`, or a text model behind the same two members."""

    def states(self, batch: BranchBatch) -> tuple[Tensor, Tensor]:
        """Hidden states ``[M, H]`` and their places ``[M, 3]``, see `scoring.states`."""

    @property
    def head(self) -> tuple[Tensor, Tensor | None]:
        """The vocabulary projection: weight ``[V, H]`` and bias ``[V]``."""


@dataclass(frozen=True)
class StepDistances:
    """Jensen-Shannon divergence in bits between N teachers at K steps; NaN where one of them has no token.

    Attributes:
        full: ``[K, N, N]`` between the means over all tokens of the step.
        half: ``[K, N, N]`` between means over every other token, at [u, v] the even ones of u and the odd ones of v,
            both ways averaged. The diagonal is a teacher beside itself.
    """

    full: np.ndarray
    half: np.ndarray


@torch.no_grad()
def distances(
    hidden: Tensor,
    weight: Tensor,
    owner: Tensor,
    step: Tensor,
    shape: tuple[int, int],
    *,
    bias: Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> StepDistances:
    """Distances between the mean next-token distributions of every teacher and step.

    Args:
        hidden: ``[M, H]`` states that predict the tokens of all teachers of one study, each teacher's in order.
        weight: ``[V, H]`` output head.
        owner: ``[M]`` teacher of each token, below N.
        step: ``[M]`` step of each token, below K; -1: of none.
        shape: (N, K).
        bias: ``[V]``.
        chunk_bytes: bytes of one buffer; a few of this size are held, and N x K x N numbers.
    """
    kept = step >= 0
    hidden, owner, step = hidden[kept], owner[kept], step[kept]
    teachers, steps = shape
    cell = (owner * steps + step) * 2 + _turn(owner * steps + step)
    count = torch.bincount(cell, minlength=2 * teachers * steps).view(teachers, steps, 2)
    full = torch.zeros(teachers, teachers, steps, dtype=torch.float64)
    half = torch.zeros_like(full)
    for mass in _masses(hidden, weight, bias, cell, 2 * teachers * steps, chunk_bytes):
        mass = mass.view(teachers, steps, 2, -1)
        even, odd = (mass[:, :, i] / count[:, :, i, None].clamp_min(1) for i in (0, 1))
        whole = mass.sum(2) / count.sum(2)[..., None].clamp_min(1)
        for u in range(teachers):
            full[u] += _partial(whole[u], whole).double().cpu()
            half[u] += _partial(even[u], odd).double().cpu()
    some, both = (count.sum(2) > 0).cpu(), (count > 0).all(2).cpu()
    return StepDistances(_known(full, some), _known((half + half.transpose(0, 1)) / 2, both))


def _turn(cell: Tensor) -> Tensor:
    """0, 1, 0, 1, ... within each cell ``[M]``, in order of the tokens."""
    order = torch.argsort(cell, stable=True)
    ranked = cell[order]
    first = torch.searchsorted(ranked, ranked)
    place = torch.arange(len(cell), device=cell.device) - first
    return torch.empty_like(cell).scatter_(0, order, place % 2)


def _masses(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, cell: Tensor, cells: int, chunk_bytes: int
) -> Iterator[Tensor]:
    """Summed probabilities ``[cells, c]`` of each cell, one chunk of the vocabulary after the other."""
    total = head_rows(hidden, weight, _normalizer, bias=bias, chunk_bytes=chunk_bytes)
    dtype, rows = matmul_dtype(hidden, weight), range(0, len(hidden), ROWS)
    width = max(1, chunk_bytes // (4 * max(1, min(len(hidden), ROWS), cells)))
    for start in range(0, len(weight), width):
        part = weight[start : start + width].to(dtype)
        mass = torch.zeros(cells, len(part), device=hidden.device)
        for row in rows:
            here = slice(row, row + ROWS)
            logits = torch.nn.functional.linear(hidden[here].to(dtype), part).float()
            if bias is not None:
                logits += bias[start : start + width].float()
            mass.index_add_(0, cell[here], logits.sub_(total[here, None].float()).exp_())
        yield mass


def _normalizer(logits: Tensor, rows: slice, derivative: bool) -> tuple[Tensor, None]:
    return logits.logsumexp(-1), None


def _partial(one: Tensor, other: Tensor) -> Tensor:
    """What a chunk of outcomes adds to the Jensen-Shannon divergence in bits: ``[..., c]`` to ``[...]``."""
    middle = (one + other) / 2
    gaps = (torch.xlogy(p, p) - torch.xlogy(p, middle) for p in (one, other))
    return sum(gap.sum(-1) for gap in gaps) / (2 * np.log(2))


def _known(values: Tensor, there: Tensor) -> np.ndarray:
    """``[N, N, K]`` as ``[K, N, N]``, NaN where one of the two is not there ``[N, K]``."""
    pairs = there[:, None] & there[None]
    return values.clamp(0, 1).masked_fill(~pairs, torch.nan).permute(2, 0, 1).numpy()


@dataclass(frozen=True)
class StepDivergence:
    """`StepDistances` over many studies.

    Attributes:
        by: what a step is: ``position`` or ``sentence``.
        curve: between teachers.
        halves: the same of every other token; ``within`` ``[S, K]`` is a teacher beside itself.
        studies: ids of the S studies.
    """

    by: str
    curve: Curve
    halves: Curve
    within: np.ndarray
    studies: Sequence[str]


Asked = Iterable[tuple[Example, Sequence[Image.Image]]]


def measure(
    scorer: Scorer, asked: Asked, collate: Collator, teachers: Sequence[str], *, steps: int
) -> list[StepDivergence]:
    """Divergence by position and by sentence over studies, one study in memory at a time.

    Args:
        scorer: the common model.
        asked: examples whose branches are the teachers' texts, with their images; fewer than two texts are passed over.
        collate: of the scorer, with its prompt. Answers longer than its ``max_branch_tokens`` are cut there.
        teachers: names and order.
        steps: parts of equal length, and sentences from the first on.
    """
    found: dict[str, list[StepDistances]] = {"position": [], "sentence": []}
    studies = []
    for example, images in asked:
        if len(example.branches) < 2:
            continue
        studies.append(example.study.id)
        for by, one in _of_study(scorer, example, images, collate, teachers, steps):
            found[by].append(one)
    return [_gathered(by, own, studies, steps, len(teachers)) for by, own in found.items()]


def _gathered(by: str, found: list[StepDistances], studies: list[str], steps: int, teachers: int) -> StepDivergence:
    full, halves = (Curve.of((getattr(one, name) for one in found), steps, teachers) for name in ("full", "half"))
    within = [mean(np.diagonal(one.half, axis1=1, axis2=2), axis=1) for one in found]
    return StepDivergence(by, full, halves, np.array(within).reshape(len(found), steps), studies)


def _of_study(
    scorer: Scorer,
    example: Example,
    images: Sequence[Image.Image],
    collate: Collator,
    teachers: Sequence[str],
    steps: int,
) -> Iterator[tuple[str, StepDistances]]:
    batch = collate([(example, images)])
    hidden, place = scorer.states(batch)
    order = torch.argsort(place[:, 1] * batch.branch_ids.shape[2] + place[:, 2])
    hidden, place = hidden[order], place[order].cpu()
    names = [teachers.index(branch.source) for branch in example.branches]
    owner = torch.tensor(names)[place[:, 1]]
    lengths = (batch.branch_mask[0].sum(-1)).tolist()
    weight, bias = scorer.head
    hidden = hidden.to(weight.dtype)
    for by in ("position", "sentence"):
        own = [
            token_positions(length, steps) if by == "position" else _sentences_of(collate, branch.text, length, steps)
            for branch, length in zip(example.branches, lengths, strict=True)
        ]
        step = torch.from_numpy(np.concatenate([own[u] for u in range(len(own))]))
        device = hidden.device
        yield by, distances(hidden, weight, owner.to(device), step.to(device), (len(teachers), steps), bias=bias)


def _sentences_of(collate: Collator, text: str, length: int, steps: int) -> np.ndarray:
    """Sentence of each of the first ``length`` tokens of a text; its end-of-turn token goes with the last one."""
    offsets = collate.answer(text).offsets[:length]
    last = offsets[-1][1] if offsets else 0
    return token_sentences([*offsets, *[(last, last)] * (length - len(offsets))], sentence_spans(text), steps)
