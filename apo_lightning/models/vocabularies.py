"""Whether two tokenizers are one: a distribution over the tokens of one says nothing about those of another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apo_lightning.hashing.contents import digest
from apo_lightning.models.processor import end_of_turn


@dataclass(frozen=True)
class Vocabulary:
    """What the ids of a tokenizer mean.

    Attributes:
        size: one more than the highest id.
        ordinary: SHA-256 over all tokens that were not added, with their ids.
        added: id to text of the tokens that were (turns, images, tools).
        end: id of the token that ends an answer.
    """

    size: int
    ordinary: str
    added: Mapping[int, str]
    end: int

    @classmethod
    def of(cls, processor: Any) -> Vocabulary:
        """Of a processor with a tokenizer and a chat template."""
        words = processor.tokenizer
        added = {number: token.content for number, token in words.added_tokens_decoder.items()}
        known = words.get_vocab()
        ordinary = sorted((number, token) for token, number in known.items() if number not in added)
        return cls(max([*known.values(), *added]) + 1, digest(ordinary), added, end_of_turn(processor))

    def facts(self) -> dict[str, str]:
        """As texts; `from_facts` reads them back."""
        added = json.dumps(self.added, sort_keys=True)
        return {"ordinary tokens": self.ordinary, "added tokens": added, "end of turn": str(self.end)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, str]) -> Vocabulary:
        """
        Raises:
            ValueError, KeyError: these are no facts of a vocabulary.
        """
        added = {int(number): str(text) for number, text in json.loads(facts["added tokens"]).items()}
        return cls(int(facts["vocabulary"]), facts["ordinary tokens"], added, int(facts["end of turn"]))


def difference(student: Vocabulary, teacher: Vocabulary) -> str | None:
    """Why a teacher's ids are not the student's, as half a sentence; None where they are. The student may have added
    tokens that the teacher does not know."""
    if student.ordinary != teacher.ordinary:
        return f"it has {teacher.size:,} tokens and the student {student.size:,}, and they are not the same ones"
    for number, text in sorted(teacher.added.items()):
        if student.added.get(number) != text:
            own = repr(student.added[number]) if number in student.added else "no token"
            return f"its token {number} is '{text}', and the student's is {own}"
    if student.end != teacher.end:
        return f"its answers end in token {teacher.end}, and the student's in {student.end}"
    return None
