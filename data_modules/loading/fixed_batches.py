"""Batches that are always of the same examples: those of prediction, and those of validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from apo_lightning.types import PromptBatch
from data_modules.loading.sampler import ExampleSet, Item


class NumberedBatches(Dataset[tuple[int, Any]]):
    """Whole collated batches of fixed composition: batch ``n`` holds examples ``n * size`` to ``(n + 1) * size``.

    Whoever continues an interrupted prediction skips the numbers that are done; the others stay what they were.
    Processes take every ``world``-th number. An item is ``(number, collated)``.
    """

    def __init__(
        self,
        items: ExampleSet,
        collate: Callable[[list[Item]], Any],
        *,
        batch_studies: int,
        skip: frozenset[int] = frozenset(),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.items, self.collate, self.batch_studies = items, collate, batch_studies
        self.total = -(-len(items) // batch_studies)
        self.numbers = [number for number in range(rank, self.total, world) if number not in skip]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        if index >= len(self.numbers):
            raise IndexError(index)
        return self.numbers[index], self.batch(self.numbers[index])

    def batch(self, number: int) -> Any:
        """The batch of that number, collated."""
        start = number * self.batch_studies
        stop = min(start + self.batch_studies, len(self.items))
        return self.collate([self.items[0, i] for i in range(start, stop)])


class EvenBatches(NumberedBatches):
    """The same batches, as many for every process: what shards a model or averages over processes must be asked equally
    often in all of them. A process that has one fewer gets the last batch once more, with ``padding`` set: it is
    computed and counts for nothing. An item is the collated batch.
    """

    def __init__(
        self,
        items: ExampleSet,
        collate: Callable[[list[Item]], Any],
        *,
        batch_studies: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(items, collate, batch_studies=batch_studies, rank=rank, world=world)
        rounds = -(-self.total // world)
        self.numbers = [rank + world * number for number in range(rounds)]

    def __getitem__(self, index: int) -> Any:
        """
        Raises:
            TypeError: a batch that would have to be padding is no `PromptBatch`, and cannot say so.
        """
        if index >= len(self.numbers):
            raise IndexError(index)
        number = self.numbers[index]
        if number < self.total:
            return self.batch(number)
        last = self.batch(self.total - 1)
        if not isinstance(last, PromptBatch):
            raise TypeError(
                f"{self.total} batches cannot be shared out evenly unless collate returns a PromptBatch, which can be "
                f"marked as padding; got {type(last).__name__}"
            )
        return replace(last, padding=True)
