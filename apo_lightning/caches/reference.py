"""Reference log-probs on disk: computed once, read by every arm and sweep trial that shares reference and answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from apo_lightning.caches.tensor_store import ELSEWHERE, TensorStore
from apo_lightning.errors import ArtifactError

NAME = "token_logps"
Keys = Sequence[Sequence[bytes]]
"""``branch_key`` of every branch: B studies, each with at most U."""


class ReferenceCache:
    """One row a branch: the float32 log-probs of its tokens under the reference.

    Args:
        store: its identity holds all that decides these numbers (weights, adapter, template, processor, precision),
            and nothing that does not (beta, teacher weights, loss). It counts hits, misses and written rows.
    """

    def __init__(self, store: TensorStore) -> None:
        self.store = store

    def read(self, keys: Keys, shape: tuple[int, int, int], lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What is known of a batch.

        Args:
            keys: branches without a key are absent.
            shape: ``(B, U, T)`` of the batch.
            lengths: ``[B, U]`` number of tokens of each branch.

        Returns:
            ``[B, U, T]`` float32 log-probs, on the device of ``lengths``: 0 behind the end of a branch and where it is
            absent, NaN in the whole row of a branch that is not in the store; and ``[B, U]`` bool, False for exactly
            those branches.

        Raises:
            ArtifactError: a row is damaged, or has another length than its branch.
        """
        places = list(_places(keys))
        rows = self.store.get_many([key for _, _, key in places])
        logps, found = torch.zeros(shape), torch.ones(shape[:2], dtype=torch.bool)
        for (b, u, key), row in zip(places, rows, strict=True):
            if row is None:
                logps[b, u], found[b, u] = torch.nan, False
            else:
                length = int(lengths[b, u])
                logps[b, u, :length] = self._checked(row, length, f"study {b}, branch {u} (row {key.hex()[:16]})")
        return logps.to(lengths.device), found.to(lengths.device)

    def write(self, keys: Keys, token_logps: Tensor, lengths: Tensor) -> None:
        """Keep a batch: ``token_logps [B, U, T]``, ``lengths [B, U]``. Rows that are there already stay.

        Raises:
            ValueError: a log-prob is NaN, as `read` returns it for what it does not know.
        """
        values, ends = token_logps.detach().float().cpu(), lengths.tolist()
        rows = [(key, values[b, u, : ends[b][u]], b, u) for b, u, key in _places(keys)]
        for _, row, b, u in rows:
            if row.isnan().any():
                raise ValueError(f"reference log-probs of study {b}, branch {u} are NaN; every run would read them")
        self.store.put_many((key, {NAME: row}) for key, row, _, _ in rows)

    def _checked(self, row: dict[str, Tensor], length: int, where: str) -> Tensor:
        logps = row.get(NAME)
        if logps is None or logps.shape != (length,) or logps.dtype != torch.float32:
            held = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in row.items()}
            raise ArtifactError(
                f"{self.store.path}: {where} must have {length} float32 log-probs named {NAME}, got {held}. {ELSEWHERE}"
            )
        return logps


def _places(keys: Keys) -> Iterator[tuple[int, int, bytes]]:
    for b, row in enumerate(keys):
        for u, key in enumerate(row):
            yield b, u, key
