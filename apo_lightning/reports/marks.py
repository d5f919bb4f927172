"""What a text states, sentence by sentence, and what of it is right, wrong, or contradicted by others.

Two tasks share this: findings present or absent, and, where studies are labelled with it, the course of findings.
Values are numbers into `Task.values`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from apo_lightning.text import conflict
from apo_lightning.text.labeler import parse, reading
from apo_lightning.text.progression import CLASSES, read_progression

PRESENCE = ("absent", "present")
RIGHT, WRONG, UNLABELLED = range(3)
AGAINST_PREFERRED, AGAINST_MOST = 4, 8
AGAINST = 16
"""Of a mark: the verdict, plus 4 where t+ says otherwise, plus 8 where most others do, plus 16 for each who does."""

Stated = tuple[int, str | None]
"""A value, and the side if one is named."""


@dataclass(frozen=True)
class Span:
    """A sentence: where it stands in its text, and what it states of which finding; never empty."""

    start: int
    end: int
    stated: dict[str, Stated]


@dataclass(frozen=True)
class Said:
    """A text as it was read.

    Attributes:
        kind: refused, nothing, normal or stated, see `apo_lightning.text.labeler`.
        spans: sentences that state something of the findings that are asked for, in order.
        whole: what the text states as a whole, with sides.
        values: what the table counts of it: finding to value.
    """

    kind: str
    spans: tuple[Span, ...]
    whole: Mapping[str, Stated]
    values: Mapping[str, int]


@dataclass(frozen=True)
class Task:
    """How texts are read.

    Attributes:
        findings: those that are asked for.
        course: read the course of findings, not whether they are present.
        as_read: makes of a text what findings are read from; spans in it are spans of the text.
    """

    findings: tuple[str, ...]
    course: bool = False
    as_read: Callable[[str], str] = str

    @cached_property
    def values(self) -> tuple[str, ...]:
        return CLASSES if self.course else PRESENCE

    def read(self, text: str) -> Said:
        """``text`` as the table reads it."""
        return (self._course if self.course else self._presence)(self.as_read(text))

    def contradict(self, one: Stated, other: Stated) -> bool:
        """Whether two statements of one finding cannot both be true."""
        return one[0] != other[0] if self.course else conflict.in_conflict(one, other)

    def _presence(self, text: str) -> Said:
        found = reading(text, self.findings)
        spans = [
            Span(
                s.start,
                s.end,
                {name: _whole(conflict.statement_of(s, name)) for name in s.values if name in self.findings},
            )
            for s in found.stated
        ]
        counted = {name: int(value) for name, value in parse(text, self.findings).items() if value == value}
        whole = {name: _whole(stated) for name, stated in conflict.statements(text, self.findings).items()}
        return Said(found.kind, tuple(span for span in spans if span.stated), whole, counted)

    def _course(self, text: str) -> Said:
        found, spans = reading(text, self.findings), []
        for start, end in sorted({*((s.start, s.end) for s in found.stated), *found.silent}):
            said = read_progression(text[start:end], self.findings)
            spans += [Span(start, end, {n: (CLASSES.index(c), None) for n, c in said.items()})] if said else []
        counted = {n: CLASSES.index(c) for n, c in read_progression(text, self.findings).items()}
        return Said(found.kind, tuple(spans), {name: (value, None) for name, value in counted.items()}, counted)


def _whole(stated: tuple[float, str | None]) -> Stated:
    return int(stated[0]), stated[1]


def marks(
    said: Said, truth: Mapping[str, int | None], others: Sequence[Said], preferred: Said | None, task: Task
) -> list[int]:
    """A number for every statement of a text, sentence by sentence, in the order of `Span.stated`.

    Args:
        truth: finding to its label, None where it has none.
        others: texts of the (other) teachers.
        preferred: t+, None where there is none, or where the text is t+.

    >>> task = Task(("edema", "pneumonia"))
    >>> one, two, best = (task.read(text) for text in ("Edema. No pneumonia.", "No edema.", "No edema."))
    >>> marks(one, {"edema": 0, "pneumonia": None}, [two], best, task) == [WRONG + 4 + 8 + 16, UNLABELLED]
    True
    """
    found = []
    for span in said.spans:
        for name, stated in span.stated.items():
            label = truth.get(name)
            against = [task.contradict(stated, other.whole[name]) for other in others if name in other.whole]
            mark = UNLABELLED if label is None else RIGHT if stated[0] == label else WRONG
            if preferred is not None and name in preferred.whole and task.contradict(stated, preferred.whole[name]):
                mark += AGAINST_PREFERRED
            mark += AGAINST_MOST if 2 * sum(against) > len(against) else 0
            found.append(mark + AGAINST * sum(against))
    return found


def majority(said: Sequence[Said], task: Task) -> dict[str, int]:
    """What most of the texts that state a finding say of it, as the table's majority vote: a tie is absent, or stable.

    >>> task = Task(("edema",))
    >>> majority([task.read("Edema."), task.read("No edema."), task.read("I cannot interpret images.")], task)
    {'edema': 0}
    """
    votes: dict[str, Counter[int]] = {}
    for each in said:
        for name, value in each.values.items():
            votes.setdefault(name, Counter())[value] += 1
    tie = CLASSES.index("stable") if task.course else PRESENCE.index("absent")
    best = {name: max(cast.values()) for name, cast in votes.items()}
    leading = {name: [value for value, count in cast.items() if count == best[name]] for name, cast in votes.items()}
    return {name: first[0] if len(first) == 1 else tie for name, first in leading.items()}
