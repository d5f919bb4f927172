"""The t+ of other studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import ClassVar

from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Branch, Negatives, Seen, at_least_one
from apo_lightning.types import Study


@NEGATIVES.register("other_study")
@dataclass(frozen=True, kw_only=True)
class OtherStudy(Negatives):
    """t+ of ``count`` other studies of the split, drawn from the seed and the study's id: the right voice about the
    wrong image.

    Never one of the same patient, and never one whose t+ is the same text, which would teach nothing. A study that has
    fewer others has fewer negatives. They are named ``other_1`` and on, and weigh 1 each.

    Attributes:
        count: negatives of a study.
    """

    of_teachers: ClassVar[bool] = False
    courses: ClassVar[bool] = True

    count: int = 1

    def __post_init__(self) -> None:
        at_least_one(count=self.count)

    def proposed(self, seen: Seen) -> Mapping[str, Sequence[Branch]]:
        pool = sorted(seen.studies, key=lambda study: study.id)
        drawn = {study.id: islice(_others(study, pool, seen), self.count) for study in seen.studies}
        return {
            study: [Branch(f"other_{place}", seen.preferred[other.id]) for place, other in enumerate(others, 1)]
            for study, others in drawn.items()
        }


def _others(study: Study, pool: Sequence[Study], seen: Seen) -> Iterator[Study]:
    """Studies of the pool in an order of their own for ``study``, shuffled no further than they are asked for."""
    words, draw = seen.preferred[study.id].split(), Random(f"{seen.seed} {study.id}")
    places: dict[int, int] = {}  # what a shuffle (Fisher-Yates) has moved
    for end in range(len(pool) - 1, -1, -1):
        place = draw.randint(0, end)
        other = pool[places.get(place, place)]
        places[place] = places.get(end, end)
        if other.patient != study.patient and seen.preferred[other.id].split() != words:
            yield other
