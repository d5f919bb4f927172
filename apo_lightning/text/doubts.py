"""What is doubtful in how a text was read, for people who check the reader on their own texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apo_lightning.text.labeler import Reading, mentioned, plain_answer, reading, stated
from apo_lightning.text.slots import unfilled
from apo_lightning.text.thinking import answer, thinking_spans


@dataclass(frozen=True)
class Audited:
    """One text, how it was read, and what is doubtful about it (empty: nothing).

    Attributes:
        values: finding to 1 present, 0 absent, of those that were asked for and are stated.
    """

    study: str
    teacher: str
    text: str
    reading: Reading
    values: dict[str, float]
    doubts: tuple[str, ...]


def audit(study: str, teacher: str, text: str, findings: Sequence[str]) -> Audited:
    """Read one text for ``findings``."""
    read = reading(text, findings)
    values = {name: value for name, value in stated(read.stated).items() if name in findings}
    return Audited(study, teacher, text, read, values, tuple(doubts(text, read, findings)))


def doubts(text: str, read: Reading, findings: Sequence[str]) -> list[str]:
    """Why somebody should look at a reading, the gravest first.

    >>> text = "There is edema. No edema. Pneumonia?"
    >>> doubts(text, reading(text), ["edema", "pneumonia"])
    ['contradicts itself: edema', 'named, but nothing read: pneumonia']
    """
    words, _ = plain_answer(text, findings)
    named = {name for name, _, _ in mentioned(words, findings)}
    said = stated(read.stated)
    values = [
        (name, value)
        for sentence in read.stated
        for name, value in sentence.values.items()
        if name not in sentence.denied_sides and name not in sentence.partly  # "no right effusion" beside a left one
    ]
    both = [name for name in findings if (name, 0.0) in values and (name, 1.0) in values]
    unread = [name for name in findings if name in named and name not in said]
    slots = unfilled(text)
    found = {
        "thinks, but gives no answer": bool(thinking_spans(text)) and not answer(text),
        f"refuses, but names findings: {', '.join(sorted(named))}": read.kind == "refused" and bool(named),
        f"contradicts itself: {', '.join(both)}": bool(both),
        "calls the film normal, but states a finding": read.overruled,
        f"named, but nothing read: {', '.join(unread)}": read.kind != "refused" and bool(unread),
        f"leaves a slot unfilled: {', '.join(dict.fromkeys(slots))}": bool(slots),
        "states nothing": read.kind == "nothing",
    }
    return [doubt for doubt, true in found.items() if true]
