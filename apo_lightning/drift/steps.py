"""Divergence over reasoning steps: how far apart the teachers' next-token distributions are under one common scorer.

The state of teacher u at token j is what it has written so far and the distribution of what comes next, given image and
question (arXiv 2510.04142): ``z_j = q(. | image, question, tau_u[:j])``. Teachers that give text alone have no
distribution of their own, so q is one model for all of them: the student, or one that is named. Texts have different
lengths and words, so tokens are not compared one by one, which is far apart for any two texts. A step (the k-th of K
parts of equal length, or the k-th sentence) has the mean of ``z_j`` over its tokens,

    ``p_uk = mean_{j in step k of u} z_j``,   ``D_k(u, v) = JS(p_uk, p_vk)``  in bits, 0 alike, 1 nothing in common.

Few tokens make any two means differ, so the number alone says little. `StepDivergence.own` is the same between two
texts of one teacher, on a study and on the one before it: other findings in the same manner. Where teachers are further
apart on one study than each is from itself on two, manner parts them more than content does.

The vocabulary is walked in chunks: of M tokens, ``[M, V]`` is never held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from lightning_utilities.core.apply_func import apply_to_collection
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
) -> np.ndarray:
    """Jensen-Shannon divergence in bits between the mean next-token distributions of N texts at each of K steps.

    Args:
        hidden: ``[M, H]`` states that predict the tokens of all texts.
        weight: ``[V, H]`` output head.
        owner: ``[M]`` text of each token, below N.
        step: ``[M]`` step of each token, below K; -1: of none.
        shape: (N, K).
        bias: ``[V]``.
        chunk_bytes: bytes of one buffer; a few of this size are held.

    Returns:
        ``[K, N, N]``, NaN where one of the two has no token.
    """
    kept = step >= 0
    hidden, cell = hidden[kept], (owner * shape[1] + step)[kept]
    count = torch.bincount(cell, minlength=shape[0] * shape[1]).view(shape)
    found = torch.zeros(shape[0], *shape, dtype=torch.float64)
    for mass in _masses(hidden, weight, bias, cell, count.numel(), chunk_bytes):
        means = mass.view(*shape, -1) / count[..., None].clamp_min(1)
        for one in range(shape[0]):
            found[one] += _partial(means[one], means).double().cpu()
    there = (count > 0).cpu()
    pairs = there[:, None] & there[None]
    return found.clamp(0, 1).masked_fill(~pairs, torch.nan).permute(2, 0, 1).numpy()


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


@dataclass(frozen=True)
class StepDivergence:
    """Divergence in bits over many studies.

    Attributes:
        by: what a step is: ``position`` or ``sentence``.
        curve: between teachers on one study.
        own: ``[S, K]`` between a study's text and the one on the study before it, mean over teachers; NaN of the first.
        studies: ids of the S studies.
    """

    by: str
    curve: Curve
    own: np.ndarray
    studies: Sequence[str]


@dataclass(frozen=True)
class _Spoken:
    """The tokens of one study: states ``[M, H]``, teacher ``[M]``, and by kind of step the step ``[M]``."""

    study: str
    hidden: Tensor
    owner: Tensor
    step: dict[str, Tensor]


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
    found: dict[str, list[np.ndarray]] = {"position": [], "sentence": []}
    studies, before, count = [], None, len(teachers)
    for example, images in asked:
        if len(example.branches) < 2:
            continue
        now = _spoken(scorer, example, images, collate, teachers, steps)
        studies.append(now.study)
        for by, own in found.items():
            own.append(_beside(now, before or now, by, scorer.head, (count, steps)))
        before = now
    return [_gathered(by, own, studies, steps, count) for by, own in found.items()]


def _beside(
    now: _Spoken, before: _Spoken, by: str, head: tuple[Tensor, Tensor | None], shape: tuple[int, int]
) -> np.ndarray:
    """``[K, 2N, 2N]``: the texts of a study, and behind them those of the one before it."""
    hidden = torch.cat([now.hidden, before.hidden])
    owner, step = torch.cat([now.owner, before.owner + shape[0]]), torch.cat([now.step[by], before.step[by]])
    return distances(hidden, head[0], owner, step, (2 * shape[0], shape[1]), bias=head[1])


def _gathered(by: str, found: list[np.ndarray], studies: list[str], steps: int, count: int) -> StepDivergence:
    curve = Curve.of((one[:, :count, :count] for one in found), steps, count)
    own = [mean(np.diagonal(one[:, :count, count:], axis1=1, axis2=2), axis=1) for one in found]
    own = np.array(own).reshape(len(found), steps)
    own[:1] = np.nan
    return StepDivergence(by, curve, own, studies)


def _spoken(
    scorer: Scorer,
    example: Example,
    images: Sequence[Image.Image],
    collate: Collator,
    teachers: Sequence[str],
    steps: int,
) -> _Spoken:
    weight, _ = scorer.head
    batch = apply_to_collection(collate([(example, images)]), Tensor, Tensor.to, weight.device)
    hidden, place = scorer.states(batch)
    order = torch.argsort(place[:, 1] * batch.branch_ids.shape[2] + place[:, 2])
    names = torch.tensor([teachers.index(branch.source) for branch in example.branches], device=weight.device)
    lengths = batch.branch_mask[0].sum(-1).tolist()
    told = list(zip([branch.text for branch in example.branches], lengths, strict=True))
    step = {
        "position": [token_positions(length, steps) for _, length in told],
        "sentence": [_sentences_of(collate, text, length, steps) for text, length in told],
    }
    return _Spoken(
        example.study.id,
        hidden[order].to(weight.dtype),
        names[place[order, 1]],
        {by: torch.from_numpy(np.concatenate(own)).to(weight.device) for by, own in step.items()},
    )


def _sentences_of(collate: Collator, text: str, length: int, steps: int) -> np.ndarray:
    """Sentence of each of the first ``length`` tokens of a text; its end-of-turn token goes with the last one."""
    offsets = collate.answer(text).offsets[:length]
    last = offsets[-1][1] if offsets else 0
    return token_sentences([*offsets, *[(last, last)] * (length - len(offsets))], sentence_spans(text), steps)
