"""What a strategy for weights may look at, and what it returns.

Labels reach it in one place, `TeacherTexts.labelled`, which holds validation studies alone; what teachers say of other
studies it may read. The losses normalise weights within a study (`functional.mixture`), so that only ratios count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from apo_lightning.positives.teacher_texts import TeacherTexts
from apo_lightning.settings.checks import check_choices

Weights = Mapping[str, Mapping[str, float]]
"""Study to teacher to weight, a finite number >= 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen(TeacherTexts):
    """All that a strategy sees.

    Attributes:
        given: the weights of the experiment file, by teacher. Of one that weighs 0 there is nothing to decide: it
            weighs 0 whatever a strategy says.
        score: mean log-probability of a token, in nats, of teachers' texts on validation studies under the student that
            nobody has taught yet: study to teacher to value. Costs a pass of the student; asked by strategies that say
            ``scores``.
    """

    given: Mapping[str, float]
    score: Callable[[], Mapping[str, Mapping[str, float]]]

    def everywhere(self, weights: Mapping[str, float]) -> Weights:
        """One weight a teacher, on every study."""
        own = {name: float(weights[name]) for name in self.teachers}
        return dict.fromkeys(self.asked, own)


@dataclass(frozen=True, kw_only=True)
class Weighting(ABC):
    """A way to weights. A subclass is registered under its name; its fields are what an experiment can set.

    Attributes:
        rejected: what a teacher weighs as an answer that t+ is preferred to: the ``same`` as in what is taught, whence
            a trusted teacher is also pushed away the hardest; ``uniform``, every one of a weight above 0 alike; or the
            ``inverse`` 1/w, so that whom one trusts least is pushed away the hardest. The paper does not say.
        uses_labels: it compares teachers with the labels of validation studies, and cannot do without.
        courses: it works where studies are labelled with the course of their findings (MS-CXR-T) too.
        scores: it asks how likely the student finds the texts.
        differs: teachers may come to weigh differently, which some losses cannot take.
    """

    uses_labels: ClassVar[bool] = False
    courses: ClassVar[bool] = False
    scores: ClassVar[bool] = False
    differs: ClassVar[bool] = True

    rejected: Literal["same", "uniform", "inverse"] = "same"

    def __post_init__(self) -> None:
        check_choices(self)

    @abstractmethod
    def __call__(self, seen: Seen) -> Weights:
        """What each teacher weighs in what is taught, for every study that is asked for."""

    @property
    def unequal(self) -> bool:
        """Whether teachers may come to weigh differently as answers that t+ is preferred to."""
        return self.differs and self.rejected != "uniform"

    def against(self, weight: float) -> float:
        """What a text weighs as one that t+ is preferred to, from what it weighs in what is taught."""
        if self.rejected == "same" or weight == 0:
            return weight
        return 1.0 if self.rejected == "uniform" else 1 / weight


def check_power(power: float) -> None:
    """
    Raises:
        ValueError: it is no finite number of at least 0.
    """
    if not 0 <= power < float("inf"):
        raise ValueError(f"power must be >= 0, got {power}")
