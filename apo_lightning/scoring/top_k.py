"""The likeliest next tokens of a model at every token of the branches: what is recorded of a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from apo_lightning.functional.teacher_logits import FullTeacher, TopK, head_logits, log_softmax_, top_k
from apo_lightning.scoring.branches import Chunk
from apo_lightning.scoring.parts import Parts
from apo_lightning.types import BranchBatch

Listed = dict[tuple[int, int], TopK]
"""Study and branch of a batch to its rows, one a scored token."""


def of_scorer(
    model: nn.Module,
    batch: BranchBatch,
    k: int,
    *,
    temperature: float,
    vocabulary: int,
    hidden_of: Callable[[nn.Module, BranchBatch], tuple[Tensor, Sequence[Chunk]]],
) -> Listed:
    """Of a model that the scorer fits, from hidden states as `divergences` takes them."""
    hidden, chunks = hidden_of(model, batch)
    head = Parts.of(model).head
    teacher = head_logits(hidden, head.weight, bias=getattr(head, "bias", None), vocabulary=vocabulary)
    every = top_k(teacher, len(hidden), k, vocabulary=vocabulary, temperature=temperature)
    return dict(_parted(every, chunks))


def of_forward(model: nn.Module, batch: BranchBatch, k: int, *, temperature: float, vocabulary: int) -> Listed:
    """Of any causal language model that reads text only: each answer behind its own prompt, through the model's public
    forward, without padding or a cache."""
    found: Listed = {}
    for b, row in enumerate(batch.present.tolist()):
        prompt = batch.prefix_ids[b][batch.prefix_mask[b].bool()]
        for u in (u for u, there in enumerate(row) if there):
            answer = batch.branch_ids[b, u][batch.branch_mask[b, u].bool()]
            if len(answer):
                logits = model(input_ids=torch.cat([prompt, answer])[None], use_cache=False).logits[0]
                teacher = _given(logits[len(prompt) - 1 : -1, :vocabulary])
                found[b, u] = top_k(teacher, len(answer), k, vocabulary=vocabulary, temperature=temperature)
    return found


def _given(logits: Tensor) -> FullTeacher:
    return lambda rows, temperature: log_softmax_(logits[rows].float().clone(), temperature)


def _parted(every: TopK, chunks: Sequence[Chunk]) -> Iterator[tuple[tuple[int, int], TopK]]:
    start = 0
    for chunk in chunks:
        places = zip(chunk.studies.tolist(), chunk.branches.tolist(), chunk.lengths, strict=True)
        for b, u, length in places:
            own = slice(start, start + length)
            yield (b, u), TopK(every.ids[own], every.logps[own], every.temperature, every.tail[own])
            start += length
