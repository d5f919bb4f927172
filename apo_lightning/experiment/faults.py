"""What rows of a table say that is not so, and whom they have it from: measured of rows that are counted already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apo_lightning.metrics.faults import UNREAD, of_answers
from apo_lightning.metrics.findings import FindingOutcomes
from apo_lightning.metrics.inherited import Judged, inherited
from apo_lightning.metrics.outcomes import Measure
from apo_lightning.metrics.progression import CourseOutcomes
from apo_lightning.text.progression import CLASSES

VOTE = "majority_vote"
Heard = Mapping[tuple[str, str], Judged]
"""Kind and name of a row to its answers."""


def add(rows: Sequence[Any]) -> Iterator[Any]:
    """Rows of a table (kind, arm, outcomes), with what they make up, leave out and share with the teachers; those of
    which answers were not kept stay as they are. A teacher is looked at beside the others."""
    said = [_judged(row.outcomes) for row in rows]
    known = {(row.kind, row.arm): one for row, one in zip(rows, said, strict=True) if one}
    for row, one in zip(rows, said, strict=True):
        made = [
            of_answers(part) for part in row.outcomes if isinstance(part, FindingOutcomes) and part.said is not None
        ]
        yield replace(row, outcomes=[*row.outcomes, *made, *_shared(row, one, known)])


def _judged(outcomes: Sequence[Measure]) -> Judged | None:
    """The answers of a row, as they are read from its texts."""
    for part in outcomes:
        if isinstance(part, FindingOutcomes | CourseOutcomes) and part.said is not None:
            silent = UNREAD if isinstance(part, FindingOutcomes) else len(CLASSES)
            return Judged(part.correct(), part.said, silent, _truth(part))
    return None


def _truth(part: FindingOutcomes | CourseOutcomes) -> np.ndarray:
    """``[S, F]`` the place of the label among those that there are, from what was counted."""
    size = (len(part.counts), len(part.findings))
    if isinstance(part, FindingOutcomes):
        right_yes, _, wrong_no, _ = np.moveaxis(part.counts[:, : 4 * size[1]].reshape(*size, 4), -1, 0)
        return (right_yes + wrong_no).astype(int)
    return part.counts[:, :-2].reshape(*size, len(CLASSES), 2)[..., 0].argmax(axis=-1)


def _shared(row: Any, one: Judged | None, known: Heard) -> Iterator[Measure]:
    """What a row has in common with the teachers that were asked the same; nothing where there is none, or no vote."""
    own, _, arm = row.arm.partition("@")
    arm = row.arm if row.kind == "arm" else arm
    names = dict.fromkeys(name.partition("@")[0] for kind, name in known if kind == "teacher")
    heard = {name: _of(known, "teacher", name, arm) for name in names if (row.kind, name) != ("teacher", own)}
    vote = _of(known, "baseline", VOTE, arm)
    if one is None or vote is None or not vote.correct.asks_as(one.correct):
        return
    asked = {name: theirs for name, theirs in heard.items() if theirs and theirs.correct.asks_as(one.correct)}
    if asked:
        yield inherited(one, asked, vote)


def _of(known: Heard, kind: str, name: str, arm: str) -> Judged | None:
    """The row of an arm where that has one of its own, else the one that arms share."""
    return known.get((kind, f"{name}@{arm}"), known.get((kind, name)))
