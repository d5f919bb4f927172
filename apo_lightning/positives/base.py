"""What a strategy may look at, and what it returns.

Labels reach a strategy in one place, `Evidence.labelled`, which holds validation studies alone: neither a test label
nor a training label can be looked at. Weights of teachers count for the losses and not here: every teacher that the
arm hears has one voice. Of equals the first teacher in the order of the experiment is taken.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from apo_lightning.text.labeler import parse
from apo_lightning.text.mentions import NO_FINDING
from apo_lightning.text.progression import read_progression
from apo_lightning.types import Answer, Study

Value = float | str
"""What is said of a finding: 1 present or 0 absent; where studies are labelled with courses, one of these."""
Stated = Mapping[str, Value]
"""Finding to what is said of it; what is not said is not there."""


@dataclass(frozen=True)
class Picked:
    """The preferred trajectory of one study.

    Attributes:
        text: t+, never empty.
        teacher: whose text it is, word for word; None where it is nobody's own.
        cut: it ran into the limit of new tokens.
        samples: the texts that it was chosen from, where the student wrote several.
    """

    text: str
    teacher: str | None = None
    cut: bool = False
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """All that a strategy sees.

    Attributes:
        asked: ids of the studies to find a t+ for, of any split.
        teachers: names of those that the arm hears, in the order of the experiment.
        texts: study id to teacher to text as it is taught, in that order; of ``asked`` and of ``labelled`` studies. A
            teacher that did not speak of a study is not there.
        labelled: the validation studies with their labels; those alone.
        findings: all that the data set labels.
        scored: those of them that teachers are judged by, as ``pool.select=best_on_val`` judges them.
        as_read: makes of a text what findings are read from, each character where it stood.
        write: lets the student read the teachers and write; study id to its answers, in the order of its rows. Costs a
            pass of the student over all of ``asked``.
    """

    asked: Sequence[str]
    teachers: Sequence[str]
    texts: Mapping[str, Mapping[str, str]]
    labelled: Sequence[Study]
    findings: Sequence[str]
    scored: Sequence[str]
    as_read: Callable[[str], str] = str
    write: Callable[[], Mapping[str, Sequence[Answer]]]
    _said: dict[str, dict[str, Stated]] = field(default_factory=dict, init=False, repr=False)

    @property
    def courses(self) -> bool:
        """Whether studies are labelled with the course of their findings, so that texts are read for that."""
        return any(study.progression for study in self.labelled)

    def read(self, text: str) -> Stated:
        """What a text states of the findings."""
        if self.courses:
            return read_progression(self.as_read(text), self.findings)
        return {name: value for name, value in parse(self.as_read(text), self.findings).items() if value == value}

    def reads_as(self, text: str, wanted: Stated) -> bool:
        """Whether a text states just this of the findings but ``no_finding``, which is said by denying all others."""
        return {name: value for name, value in self.read(text).items() if name != NO_FINDING} == dict(wanted)

    def said(self, study: str) -> Mapping[str, Stated]:
        """What each teacher states of a study. Those that refuse, are missing or state none of the findings are left
        out: their texts serve nobody as t+."""
        if study not in self._said:
            read = {name: self.read(text) for name, text in self.texts.get(study, {}).items()}
            self._said[study] = {name: stated for name, stated in read.items() if stated}
        return self._said[study]

    def truth(self, study: Study) -> Stated:
        """The labels of a validation study, those that are known."""
        if self.courses:
            return study.progression
        return {name: value for name, value in study.findings.items() if value == value}

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
        uses_labels: it compares teachers with the labels of validation studies, and cannot do without.
        courses: it works where studies are labelled with the course of their findings (MS-CXR-T) too.
    """

    writes: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False
    courses: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        """t+ by study. Studies of which no teacher's text states anything have none, and are counted."""
