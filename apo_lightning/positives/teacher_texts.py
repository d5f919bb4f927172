"""What t+ and weights go by: the teachers' texts of some studies, what they state, and labels of validation studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from apo_lightning.text.labeler import parse
from apo_lightning.text.progression import judges_progression, read_progression
from apo_lightning.types import Study

Value = float | str
"""What is said of a finding: 1 present or 0 absent; where studies are labelled with courses, one of these."""
Stated = Mapping[str, Value]
"""Finding to what is said of it; what is not said is not there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherTexts:
    """
    Attributes:
        asked: ids of the studies that an answer is wanted for.
        teachers: names of those that the arm hears, in the order of the experiment.
        texts: study id to teacher to text as it is taught, in that order; of ``asked`` and of ``labelled`` studies. A
            teacher that did not speak of a study is not there.
        labelled: the validation studies with their labels; those alone.
        findings: all that the data set labels.
        scored: those of them that teachers are judged by, as ``pool.select=best_on_val`` judges them.
        as_read: makes of a text what findings are read from, each character where it stood.
    """

    asked: Sequence[str]
    teachers: Sequence[str]
    texts: Mapping[str, Mapping[str, str]]
    labelled: Sequence[Study]
    findings: Sequence[str]
    scored: Sequence[str]
    as_read: Callable[[str], str] = str
    _said: dict[str, dict[str, Stated]] = field(default_factory=dict, init=False, repr=False)

    @property
    def courses(self) -> bool:
        """Whether studies are labelled with the course of their findings, so that texts are read for that."""
        return judges_progression(self.labelled)

    def read(self, text: str) -> Stated:
        """What a text states of the findings."""
        if self.courses:
            return read_progression(self.as_read(text), self.findings)
        return {name: value for name, value in parse(self.as_read(text), self.findings).items() if value == value}

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
