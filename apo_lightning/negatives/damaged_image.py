"""t+ itself, behind an image that does not show what it states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Branch, Negatives, Seen
from apo_lightning.settings.checks import check_choices
from apo_lightning.types import Damage


@NEGATIVES.register("damaged_image")
@dataclass(frozen=True, kw_only=True)
class DamagedImage(Negatives):
    """The same text about a damaged image.

    ``(v', l, t+)`` against ``(v, l, t+)``: the text is the same, so that nothing but the image can tell them apart.
    With the loss ``dpo`` this is the conditional term of mDPO (arXiv 2406.11839), without its other two.

    v' is every image of the study damaged (`batching.damage`), the same way in every pass. The one negative of a study
    is named ``damaged`` and weighs 1. It is no copy of t+, and no answer of a teacher stands beside it. It costs a
    prompt more a study, since it cannot share that of t+.

    Attributes:
        how: ``crop`` leaves a piece of the image, as mDPO does; ``blank`` leaves its mean grey.
        area: share of the image that a crop leaves, at most, in (0, 1].
    """

    of_teachers: ClassVar[bool] = False
    courses: ClassVar[bool] = True
    same_text: ClassVar[bool] = True

    how: Literal["crop", "blank"] = "crop"
    area: float = 0.2

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 < self.area <= 1:
            raise ValueError(f"area must be in (0, 1], got {self.area}")

    def proposed(self, seen: Seen) -> Mapping[str, Sequence[Branch]]:
        damage = Damage(self.how, self.area, seen.seed)
        return {study.id: [Branch("damaged", seen.preferred[study.id], damage=damage)] for study in seen.studies}
