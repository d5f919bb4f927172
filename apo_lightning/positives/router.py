"""For every study the teacher that is most likely right in what it says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Stated, Strategy
from apo_lightning.positives.reliability import Reliability, check_smoothing


@POSITIVES.register("router")
@dataclass(frozen=True, kw_only=True)
class Router(Strategy):
    """The teacher whose statements on this study have the highest expected accuracy, as validation labels say.

    Expected accuracy of a text: the mean over the findings that it states of how often this teacher is right when it
    says so (`positives.reliability`). What a text leaves out neither helps nor harms it. Refusals, missing texts and
    those that state none of the findings are passed over; of equals the first teacher. Routing instead of aggregation
    after Knowledge Purification (arXiv 2602.01064), here without a trained router. The paper of APO uses no labels in
    training; here validation labels choose.

    Attributes:
        smoothing: what is added to every count of right and wrong (Laplace: 1).
    """

    smoothing: float = 1.0

    uses_labels: ClassVar[bool] = True
    courses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_smoothing(self.smoothing)

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        reliable = Reliability(seen, self.smoothing)

        def best(study: str) -> str | None:
            expected = {name: _expected(seen, reliable, name, stated) for name, stated in seen.said(study).items()}
            return max(expected, key=expected.__getitem__, default=None)

        return seen.each(lambda study: seen.chosen(study, best(study)))


def _expected(seen: Evidence, reliable: Reliability, teacher: str, stated: Stated) -> float:
    """In [0, 1]; 0 for a text that states only findings that are not scored."""
    counted = [reliable(teacher, name, value) for name, value in stated.items() if name in seen.scored]
    return fmean(counted) if counted else 0.0
