"""Study by study: whoever is reliable in what it states of this one weighs more."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from apo_lightning.positives.reliability import PRESENCE, Reliability, check_smoothing
from apo_lightning.text.progression import CLASSES
from apo_lightning.weighting import WEIGHTS
from apo_lightning.weighting.base import Seen, Weighting, Weights, check_power


@WEIGHTS.register("router")
@dataclass(frozen=True, kw_only=True)
class Router(Weighting):
    """A teacher weighs, study by study, by how reliable it is on the findings that it states.

    By finding: `w_u(s) = (1 / |F_u(s)| sum_{f in F_u(s)} R_u(f, v_u(s, f))) ** power`.

    `F_u(s)` are the findings that teacher u states of study s, among those that teachers are judged by, and `v_u(s, f)`
    is what it says of one. `R_u(f, v) = (c + a) / (n + a K)` is how reliable u is in saying so: of the n validation
    studies with a label of f on which u said v, it was right on c; a is ``smoothing``, K the number of values that a
    finding can have (2; 3 where courses are told). A teacher is thus heard on a study where it says what it knows, and
    less where it says what it is mostly wrong in. One that states nothing of it (refusals are not taught) has the
    value of a guess, `(1 / K) ** power`.

    Attributes:
        smoothing: a, what is added to every count of right and wrong (Laplace: 1).
        power: how far the reliable are set apart; 0 makes all alike.
    """

    uses_labels: ClassVar[bool] = True
    courses: ClassVar[bool] = True

    smoothing: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_smoothing(self.smoothing)
        check_power(self.power)

    def __call__(self, seen: Seen) -> Weights:
        reliable, guess = Reliability(seen, self.smoothing), 1 / (len(CLASSES) if seen.courses else PRESENCE)

        def weight(study: str, teacher: str) -> float:
            stated = seen.said(study).get(teacher, {})
            known = [reliable(teacher, name, value) for name, value in stated.items() if name in seen.scored]
            return (fmean(known) if known else guess) ** self.power

        return {study: {name: weight(study, name) for name in seen.teachers} for study in seen.asked}
