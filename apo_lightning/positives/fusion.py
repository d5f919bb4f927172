"""Direct fusion without the student: the teachers' vote, told in the teachers' own sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Stated, Strategy, Value
from apo_lightning.positives.majority import report, statement, vote
from apo_lightning.positives.reliability import Reliability, check_smoothing
from apo_lightning.text.labeler import sentences

EDGES = " \t\r\n-*\u2022,;:|"
"""Signs of lists and tables that a sentence does not need."""


@POSITIVES.register("fusion")
@dataclass(frozen=True, kw_only=True)
class Fusion(Strategy):
    """Says what most teachers say, finding by finding, in sentences of teachers who say so.

    For each finding that the teachers vote on (see ``majority``) a sentence of one that says so.

    Of the sentences that say so, contradict no other vote and read alone as they do in their text: that of the teacher
    who is most reliable in saying it (`positives.reliability`; without validation labels all are alike), of equals the
    first teacher's, and its first. A sentence that states several findings is told once, in the place of the first of
    them in the set's order. Where no sentence will do, the vote is said in the fixed words of ``majority``, and so is
    the whole report if its sentences together do not read as the vote. Findings that nobody states are left out. The
    side of a finding is the chosen teacher's and is not voted on.

    Attributes:
        smoothing: see `positives.reliability`.
    """

    smoothing: float = 1.0

    def __post_init__(self) -> None:
        check_smoothing(self.smoothing)

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        reliable = Reliability(seen, self.smoothing)
        return seen.each(lambda study: told(seen, study, vote(seen, study), reliable))


def alike(teacher: str, finding: str, value: Value) -> float:
    """For `told`: all are equally reliable."""
    return 0.0


def told(seen: Evidence, study: str, voted: Stated, reliable: Callable[[str, str, Value], float]) -> Picked | None:
    """What is ``voted`` of a study, in sentences of the most ``reliable`` teachers; None where that is nothing."""
    if not voted:
        return None
    lines: list[str] = []
    lent = False
    done: set[str] = set()
    for finding, value in voted.items():
        if finding in done:
            continue
        found = [(reliable(who, finding, value), *said) for who, *said in _saying(seen, study, voted, finding)]
        _, line, names = max(found, key=lambda each: each[0], default=(0.0, statement(finding, value), {finding}))
        lines.append(line)
        lent |= bool(found)
        done |= names
    text = " ".join(lines)
    return Picked(text, plain=not lent) if seen.reads_as(text, voted) else Picked(report(seen, voted), plain=True)


def _saying(seen: Evidence, study: str, voted: Stated, finding: str) -> Iterator[tuple[str, str, set[str]]]:
    """Teacher, sentence and findings of every sentence that says of ``finding`` what the vote says."""
    for teacher, stated in seen.said(study).items():
        if stated.get(finding) != voted[finding]:
            continue  # it may say so in a sentence that a later one takes back
        text = seen.texts[study][teacher]
        for sentence in sentences(seen.as_read(text), seen.findings):
            own = {name: value for name, value in sentence.values.items() if name in voted}
            line = _alone(text[sentence.start : sentence.end])
            if finding in own and own.items() <= voted.items() and seen.reads_as(line, own):
                yield teacher, line, set(own)


def _alone(sentence: str) -> str:
    """A sentence on one line, without signs of lists around it, with a full stop."""
    line = " ".join(sentence.split()).strip(EDGES)
    return line if line.endswith((".", "!", "?")) else f"{line}."
