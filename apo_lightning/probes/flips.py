"""Asking with the earlier and the current image swapped; what is counted of it is in `metrics.flips`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from apo_lightning.types import Example, Study

Item = tuple[Example, Sequence[Image.Image]]


def can_flip(study: Study) -> bool:
    """Whether there are an earlier image and a course that is known."""
    return bool(study.progression and study.prior and study.prior.images and study.images)


@dataclass(frozen=True)
class Swapping:
    """A collator that shows each study's own images first, and those of the examination before behind them."""

    collate: Callable[[list[Item]], Any]

    def __call__(self, items: Sequence[Item]) -> Any:
        return self.collate([(example, _swapped(example.study, images)) for example, images in items])


def _swapped(study: Study, images: Sequence[Image.Image]) -> list[Image.Image]:
    earlier = len(study.prior.images) if study.prior else 0
    return [*images[earlier:], *images[:earlier]]
