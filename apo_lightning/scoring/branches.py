"""The answers: grouped into chunks of like length, each run beside the prompt of its study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from apo_lightning.scoring.parts import Parts
from apo_lightning.scoring.prefix import Prefix
from apo_lightning.types import BranchBatch

LIKE = 0.75
"""A chunk takes answers of at least this share of its longest one: padding costs a quarter of it at most."""


@dataclass(frozen=True)
class Chunk:
    """R answers that run together.

    Attributes:
        studies, branches: ``[R]`` place of each in the batch.
        lengths: token counts, longest first.
    """

    studies: Tensor
    branches: Tensor
    lengths: tuple[int, ...]

    def ids(self, batch: BranchBatch) -> Tensor:
        """``[R, T]`` token ids of the answers, T the longest."""
        return batch.branch_ids[self.studies, self.branches, : self.lengths[0]]

    def scored(self, rows: Tensor) -> Tensor:
        """What belongs to real answer tokens, in one line: ``[R, T, ...]`` to ``[M, ...]``."""
        return torch.cat([row[:length] for row, length in zip(rows, self.lengths, strict=True)])


def plan(batch: BranchBatch, rows: int | None) -> list[Chunk]:
    """Chunks of at most ``rows`` answers (None: no limit), longest first; absent and empty answers are left out."""
    lengths = (batch.branch_mask * batch.present[..., None]).sum(-1)
    found = [(n, b, u) for b, row in enumerate(lengths.tolist()) for u, n in enumerate(row) if n > 0]
    return [_chunk(group, batch.branch_ids.device) for group in _groups(sorted(found, key=lambda x: -x[0]), rows)]


def _groups(found: list[tuple[int, int, int]], rows: int | None) -> Iterator[list[tuple[int, int, int]]]:
    group: list[tuple[int, int, int]] = []
    for item in found:
        if group and (len(group) == rows or item[0] < LIKE * group[0][0]):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _chunk(group: list[tuple[int, int, int]], device: torch.device) -> Chunk:
    lengths, studies, branches = zip(*group, strict=True)
    return Chunk(torch.tensor(studies, device=device), torch.tensor(branches, device=device), lengths)


def hidden_states(parts: Parts, prefix: Prefix, batch: BranchBatch, chunk: Chunk) -> Tensor:
    """Hidden states that predict the tokens of a chunk's answers, ``[M, H]``, M scored tokens.

    A row holds the last prompt token and the answer without its last token, since that one predicts nothing.
    """
    ids = torch.cat([batch.prefix_ids[chunk.studies, -1:], chunk.ids(batch)[:, :-1]], dim=1)
    steps = torch.arange(ids.shape[1], device=ids.device)
    real = prefix.mask[chunk.studies]
    start = int(real.int().argmax(-1).min())  # padding that all rows share is not looked at
    real = real[:, start:]
    output = parts.decoder(
        inputs_embeds=parts.embed(ids),
        position_ids=prefix.positions[..., chunk.studies, None] + steps,
        attention_mask=None if real.all() else torch.cat([real, torch.ones_like(ids, dtype=torch.bool)], 1).long(),
        past_key_values=prefix.cache(chunk.studies, start),
        use_cache=False,
    )
    return chunk.scored(output.last_hidden_state)


def places(chunks: Sequence[Chunk], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Study, branch and token ``[M]`` each of the scored tokens, in the order in which chunks give them."""
    longest = torch.arange(max((chunk.lengths[0] for chunk in chunks), default=0), device=device)
    rows = [
        torch.stack([chunk.studies[i].expand(n), chunk.branches[i].expand(n), longest[:n]])
        for chunk in chunks
        for i, n in enumerate(chunk.lengths)
    ]
    return tuple(torch.cat(rows, 1)) if rows else (longest, longest, longest)
