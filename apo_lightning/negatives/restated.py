"""Every teacher's text in the student's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Branch, Negatives, Round, Seen, Texts


@NEGATIVES.register("restated")
@dataclass(frozen=True, kw_only=True)
class Restated(Negatives):
    """What each teacher says, retold by the student in its own words.

    `tau'_u ~ q(. | image, question, tau_u)`: the student that the stage starts from reads one teacher and writes, as
    it writes t+ when it reads all (prompt and decoding of ``stages.self_distill``).

    t+ and its negatives then have one voice, and differ in what they say. Texts that the stage would leave out
    (refusals, empty ones) are not restated; what is restated goes through the same filters once more. Each bears the
    name of its teacher and has its weight.
    """

    writes: ClassVar[bool] = True
    shows: ClassVar[bool] = True
    courses: ClassVar[bool] = True

    def proposed(self, seen: Seen) -> Mapping[str, Sequence[Branch]]:
        return {
            study.id: [
                Branch(name, said.text, seen.weights[study.id][name], cut=said.cut)
                for name, said in seen.written.get(study.id, {}).items()
            ]
            for study in seen.studies
        }

    def rounds(self, texts: Texts) -> Sequence[Round]:
        teachers = dict.fromkeys(name for own in texts.values() for name in own)
        shown = {name: {study: {name: own[name]} for study, own in texts.items() if name in own} for name in teachers}
        return [Round(list(own), (name,), own) for name, own in shown.items()]
