"""Whoever is right more often on validation studies weighs more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.positives.best_teacher import accuracies
from apo_lightning.weighting import WEIGHTS
from apo_lightning.weighting.base import Seen, Weighting, Weights, check_power


@WEIGHTS.register("val_accuracy")
@dataclass(frozen=True, kw_only=True)
class ValAccuracy(Weighting):
    """A teacher weighs by its accuracy on validation labels.

    `w_u = a_u ** power`, with `a_u` the mean accuracy on validation labels by which ``pool.select=best_on_val``
    chooses: the mean over findings; a refusal or a missing text is wrong.

    Attributes:
        power: how far the better ones are set apart; 0 makes all alike.
    """

    uses_labels: ClassVar[bool] = True
    courses: ClassVar[bool] = True

    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_power(self.power)

    def __call__(self, seen: Seen) -> Weights:
        return seen.everywhere({name: value**self.power for name, value in accuracies(seen).items()})
