"""A collator's questions as a server is asked them: the same words and images, which the server makes into tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from apo_lightning import prompts
from apo_lightning.batching.collate import Collator, Item
from apo_lightning.collecting.request import data_url
from apo_lightning.models.text_tokens import TextTokens


@dataclass(frozen=True)
class Questions:
    """A batch of studies as they are asked.

    Attributes:
        studies: their ids.
        messages: of each study its conversation.
        tokens: of each study how many tokens the question has, images included, as the student reads it.
    """

    studies: list[str]
    messages: list[list[dict[str, Any]]]
    tokens: list[int]

    def to(self, *where: Any, **how: Any) -> Self:
        """Itself: there is no tensor in it."""
        return self


class PartedTexts(TextTokens):
    """Texts for a tokenizer that is elsewhere, and cannot be made to take out what parts a control token: a space parts
    it, and stays."""

    def __init__(self, read: TextTokens) -> None:
        vars(self).update(vars(read))
        self._break = " "


class Asking(Collator):
    """Another collator's studies, prompts and limits, with messages in the place of tensors.

    Args:
        collate: whose; what is cut is counted there.
    """

    def __init__(self, collate: Collator) -> None:
        vars(self).update(vars(collate))
        self.read, self.keys = PartedTexts(collate.read), False
        self._shown: Sequence[Sequence[str]] = ()

    def __call__(self, items: Sequence[Item]) -> Questions:
        """
        Raises:
            DataError: a prompt does not fit.
        """
        batch = self._prompts(items)
        messages = [self._message(item, reports) for item, reports in zip(items, self._shown, strict=True)]
        return Questions(batch.studies, messages, batch.prefix_mask.sum(-1).tolist())

    def _process(self, items: Sequence[Item], reports: Sequence[Sequence[str]]) -> Any:
        self._shown = reports  # the last ones are those that fit
        return super()._process(items, reports)

    def _message(self, item: Item, reports: Sequence[str]) -> list[dict[str, Any]]:
        """One turn of the user, images first, as `Collator` renders it."""
        images = [{"type": "image_url", "image_url": {"url": data_url(own.convert("RGB"), None)}} for own in item[1]]
        words = self.read.escape_special_tokens(prompts.render(self.prompt, self.findings, reports))
        return [{"role": "user", "content": [*images, {"type": "text", "text": words}]}]
