"""Batches whose studies have two prompts: the plain one, and one with the teachers' texts to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

from apo_lightning.batching.collate import Collator, Item
from apo_lightning.types import BranchBatch, Example, PromptBatch


@dataclass
class InformedBatch(BranchBatch):
    """Answers with the plain prompt of their study, and the prompt with reports beside it.

    Attributes:
        context_ids: ``[B, P']`` token ids of the other prompt; of a study without a report the plain one's.
        context_mask: ``[B, P']`` 1 on real tokens, left-padded as the plain prompts are.
    """

    context_ids: Tensor
    context_mask: Tensor

    def informed(self) -> BranchBatch:
        """The same answers behind the prompts with reports. The images are the same, and so are their features."""
        return replace(self, prefix_ids=self.context_ids, prefix_mask=self.context_mask, branch_keys=None)


class InformedCollator:
    """Batches ``(example, images)`` pairs under two templates.

    Args:
        plain: for the prompt that is learned.
        informed: for the prompt that shows an example's ``context``.
    """

    def __init__(self, plain: Collator, informed: Collator) -> None:
        self.plain, self.informed = plain, informed

    def __call__(self, items: Sequence[Item]) -> PromptBatch:
        batch = self.plain(items)
        if not isinstance(batch, BranchBatch):
            return batch
        ids, mask = batch.prefix_ids, batch.prefix_mask
        if reading := [place for place, (example, _) in enumerate(items) if example.context]:
            told = self.informed([(replace(items[i][0], branches=()), items[i][1]) for i in reading])
            width = max(ids.shape[1], told.prefix_ids.shape[1])
            ids, mask = (_widened(each, width) for each in (ids, mask))
            ids[reading], mask[reading] = (_widened(each, width) for each in (told.prefix_ids, told.prefix_mask))
        return InformedBatch(**vars(batch), context_ids=ids, context_mask=mask)

    @property
    def cut(self) -> Counter[str]:
        """What was cut of answers, and of reports."""
        return self.plain.cut + self.informed.cut

    def control_texts(self, examples: Iterable[Example]) -> dict[str, int]:
        """See `Collator.control_texts`."""
        shown = list(examples)
        bare = [replace(example, branches=()) for example in shown]
        return {**self.plain.control_texts(shown), **self.informed.control_texts(bare)}


def _widened(rows: Tensor, width: int) -> Tensor:
    """Left-padded to ``width`` columns, whose mask is 0: no model looks at their ids."""
    return F.pad(rows, (width - rows.shape[1], 0))
