"""The student reads all teachers and writes several texts; t+ says what most of them say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Strategy
from apo_lightning.positives.fusion import alike, told
from apo_lightning.positives.majority import vote
from apo_lightning.types import Answer


@POSITIVES.register("consensus")
@dataclass(frozen=True, kw_only=True)
class Consensus(Strategy):
    """Lets the student write several times and takes, finding by finding, what it says most often.

    Self-consistency (arXiv 2203.11171), finding by finding, over n samples of self-distillation. It needs no label.

    The samples vote as teachers do in ``majority``. t+ is the first sample that states just what the vote says; where
    none does, the vote is told in the samples' own sentences, as ``fusion`` tells that of the teachers. ``student``
    takes that sample which agrees best with the others, which may err where most of them do not.

    How the student writes is said by the section that this one lies in: ``samples`` of at least 2, ``sample: true``.
    """

    writes: ClassVar[bool] = True
    drawn: ClassVar[int] = 2

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        found = {study: _agreed(seen, study, answers) for study, answers in seen.write().items()}
        return {study: picked for study, picked in found.items() if picked is not None}


def _agreed(seen: Evidence, study: str, answers: Sequence[Answer]) -> Picked | None:
    texts = {str(number): written.text for number, written in enumerate(answers) if written.text.strip()}
    own = replace(seen, teachers=list(texts), texts={study: texts})
    voted, samples = vote(own, study), tuple(written.text for written in answers)
    exact = next((each for each in answers if voted and own.reads_as(each.text, voted)), None)
    if exact is not None:
        return Picked(exact.text, cut=exact.cut, samples=samples)
    fused = told(own, study, voted, alike)
    return replace(fused, samples=samples) if fused else None
