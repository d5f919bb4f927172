"""The paper's: the student reads every teacher's text beside the image and writes t+."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Strategy
from apo_lightning.text.conflict import most_agreed
from apo_lightning.types import Answer


@POSITIVES.register("student")
@dataclass(frozen=True, kw_only=True)
class ByStudent(Strategy):
    """The student reads all teachers' texts and writes its own; the paper's way.

    `t+ ~ q(. | image, question, tau_1 .. tau_N)` (arXiv 2510.04142); no label is looked at.

    How it writes is said by the section that this one lies in (``samples``, ``max_new_tokens``, ``prompt``). Of several
    texts t+ is the one that agrees best with the others in what it states, the first of equals.
    """

    writes: ClassVar[bool] = True
    courses: ClassVar[bool] = True

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        return {study: _consensus(answers, seen) for study, answers in seen.write().items()}


def _consensus(answers: Sequence[Answer], seen: Evidence) -> Picked:
    texts = [written.text for written in answers]
    best = answers[texts.index(most_agreed(texts, seen.findings, seen.as_read))]
    return Picked(best.text, cut=best.cut, samples=tuple(texts) if len(texts) > 1 else ())
