"""The teachers' vote on every finding, told by the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Stated, Strategy
from apo_lightning.positives.fusion import alike, told
from apo_lightning.positives.majority import report, vote
from apo_lightning.types import Answer


@POSITIVES.register("majority_retold")
@dataclass(frozen=True, kw_only=True)
class MajorityRetold(Strategy):
    """``majority`` decides what is said, the student how: beside the image it reads the vote, told in the teachers' own
    sentences as ``fusion`` tells it, in place of their texts, and writes its report.

    Of its texts that state just the vote the first is t+. Where none does, since the student added, left out or turned
    a finding, the vote stays in its fixed words, and is counted as such: what t+ states is the vote in any case. No
    label is looked at.
    """

    writes: ClassVar[bool] = True

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        voted = {study: found for study in seen.asked if (found := vote(seen, study))}
        plain = {study: report(seen, found) for study, found in voted.items()}
        shown = {study: {"vote": told(seen, study, found, alike).text} for study, found in voted.items()}
        written = seen.write(shown) if shown else {}
        return {study: _chosen(seen, written.get(study, ()), voted[study], plain[study]) for study in plain}


def _chosen(seen: Evidence, answers: Sequence[Answer], voted: Stated, plain: str) -> Picked:
    samples = tuple(each.text for each in answers) if len(answers) > 1 else ()
    exact = next((each for each in answers if seen.reads_as(each.text, voted)), None)
    if exact is None:
        return Picked(plain, samples=samples, plain=True)
    return Picked(exact.text, cut=exact.cut, samples=samples)
