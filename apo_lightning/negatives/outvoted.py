"""Only the teachers' texts with a sentence that other teachers contradict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Branch, Negatives, Seen, at_least_one
from apo_lightning.text.conflict import Stated, contradicts, statements
from apo_lightning.text.labeler import sentences


@NEGATIVES.register("outvoted")
@dataclass(frozen=True, kw_only=True)
class Outvoted(Negatives):
    """The texts of teachers with a sentence that several others contradict.

    `{tau_u : some sentence of tau_u is contradicted by at least `votes` teachers besides u}`, each text whole.

    A teacher contradicts a sentence if its text as a whole says otherwise of a finding, or of its side
    (`text.conflict`). All teachers that spoke of the study have a voice, whatever their weight, also one whose text is
    no negative itself because it is a copy of t+; a refusal states nothing. t+ is not asked.

    Attributes:
        votes: how many other teachers must contradict one sentence.
    """

    leaves_out: ClassVar[str] = "not_outvoted"

    votes: int = 2

    def __post_init__(self) -> None:
        at_least_one(votes=self.votes)

    def kept(self, seen: Seen, study: str, answers: Sequence[Branch]) -> Sequence[Branch]:
        said = {name: statements(seen.as_read(text), seen.findings) for name, text in seen.texts[study].items()}
        return [answer for answer in answers if _most_against(answer, said, seen) >= self.votes]


def _most_against(answer: Branch, said: Mapping[str, Mapping[str, Stated]], seen: Seen) -> int:
    """The greatest number of other teachers that contradict one sentence of an answer."""
    others = [stated for name, stated in said.items() if name != answer.source]
    counts = [
        sum(contradicts(sentence, stated) for stated in others)
        for sentence in sentences(seen.as_read(answer.text), seen.findings)
    ]
    return max(counts, default=0)
