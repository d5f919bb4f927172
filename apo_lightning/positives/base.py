"""What a strategy may look at, and what it returns.

Labels reach a strategy in one place, `TeacherTexts.labelled`, which holds validation studies alone: neither a test
label nor a training label can be looked at. Weights of teachers count for the losses and not here: every teacher that
the arm hears has one voice. Of equals the first teacher in the order of the experiment is taken.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.positives.teacher_texts import Stated, TeacherTexts, Value
from apo_lightning.text.mentions import NO_FINDING
from apo_lightning.types import Answer

__all__ = ["Evidence", "Picked", "Stated", "Strategy", "Value", "Write"]

Write = Callable[..., Mapping[str, Sequence[Answer]]]
"""Takes texts by study (by default every teacher's text of all studies that are asked for)."""


@dataclass(frozen=True)
class Picked:
    """The preferred trajectory of one study.

    Attributes:
        text: t+, never empty.
        teacher: whose text it is, word for word; None where it is nobody's own.
        cut: it ran into the limit of new tokens.
        samples: the texts that it was chosen from, where the student wrote several.
        plain: nobody's own words would do, so that it is said in fixed ones.
    """

    text: str
    teacher: str | None = None
    cut: bool = False
    samples: tuple[str, ...] = ()
    plain: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence(TeacherTexts):
    """All that a strategy sees.

    Attributes:
        asked: ids of the studies to find a t+ for, of any split.
        write: lets the student read the teachers and write; study id to its answers, in the order of its rows. Costs a
            pass of the student over all of ``asked``. Given texts by study, the student reads those instead, and is
            asked of their studies alone.
    """

    write: Write

    def reads_as(self, text: str, wanted: Stated) -> bool:
        """Whether a text states just this of the findings but ``no_finding``, which is said by denying all others."""
        return {name: value for name, value in self.read(text).items() if name != NO_FINDING} == dict(wanted)

    def each(self, pick: Callable[[str], Picked | None]) -> dict[str, Picked]:
        """``pick`` for every study that is asked for; where it finds nothing, the study has no t+."""
        return {study: found for study in self.asked if (found := pick(study)) is not None}

    def chosen(self, study: str, teacher: str | None) -> Picked | None:
        """A teacher's own text."""
        return Picked(self.texts[study][teacher], teacher) if teacher is not None else None


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC):
    """A way to t+. A subclass is registered under its name; its fields are what an experiment can set.

    Attributes:
        writes: it lets the student write, so that t+ depends on student and seed.
        drawn: how many texts of a study the student must write at least.
        uses_labels: it compares teachers with the labels of validation studies, and cannot do without.
        courses: it works where studies are labelled with the course of their findings (MS-CXR-T) too.
    """

    writes: ClassVar[bool] = False
    drawn: ClassVar[int] = 1
    uses_labels: ClassVar[bool] = False
    courses: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        """t+ by study. Studies of which no teacher's text states anything have none, and are counted."""
