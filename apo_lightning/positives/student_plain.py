"""What the student states when it reads every teacher, in the words of the vote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Stated
from apo_lightning.positives.majority import report
from apo_lightning.positives.student import ByStudent
from apo_lightning.text.mentions import NO_FINDING


@POSITIVES.register("student_plain")
@dataclass(frozen=True, kw_only=True)
class StudentPlain(ByStudent):
    """The student decides after reading all teachers, and plain fixed sentences say it.

    ``student`` decides what is said, ``majority`` how: "There is X. There is no Y.", in the set's order, without
    side or grade. Beside these two and ``majority_retold`` it parts what t+ states from how it is worded.

    A text that states nothing stays as it is. No label is looked at.
    """

    courses: ClassVar[bool] = False

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        return {study: _reworded(written, seen) for study, written in super().__call__(seen).items()}


def _reworded(written: Picked, seen: Evidence) -> Picked:
    said = seen.read(written.text)
    stated: Stated = {name: said[name] for name in seen.findings if name in said and name != NO_FINDING}
    return Picked(report(seen, stated), samples=written.samples) if stated else written
