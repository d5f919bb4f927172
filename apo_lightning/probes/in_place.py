"""How a student decides on a finding at the place where its own answer decides, between sentences of its own.

Statements that begin an answer (`statements`) ask in words that a trained student may never use, where it would speak
of something else. Here its answer is kept up to the sentence that speaks of the finding, and what could stand there is
what this student writes elsewhere: its most frequent sentences that say present, and those that say absent. Labels
have no part in it. p(present) is again the share of the probability on the present side; what comes before is the same
for both, so that it cancels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from apo_lightning.batching.collate import Collator
from apo_lightning.models.student import Student
from apo_lightning.probes.wordings import known, readable, statements
from apo_lightning.text.labeler import sentences
from apo_lightning.types import Branch, Example, Study
from data_modules.base import CXRDataModule

AT_ONCE = 256
"""Continuations that are scored at a time, at least those of one study."""
FALLBACK = 2
"""Pairs of general statements, of which a side is taken that the student never writes."""
Sides = tuple[tuple[str, ...], tuple[str, ...]]
"""What says present, what says absent."""


@dataclass(frozen=True)
class OwnWords:
    """What a student writes of each finding, and where.

    Attributes:
        sides: finding to its own sentences, without their full stops; findings that can be asked.
        places: study to finding to the first character of the first sentence that speaks of it.
        borrowed: how many sides the student never writes, so that general statements stand for them.
    """

    sides: Mapping[str, Sides]
    places: Mapping[str, Mapping[str, int]]
    borrowed: int

    def before(self, study: str, finding: str, text: str) -> str:
        """The answer up to the place of a finding; all of it where it is not spoken of."""
        place = self.places.get(study, {}).get(finding)
        return text[:place] if place is not None else f"{text.rstrip()} " if text.strip() else ""


def own_words(
    texts: Mapping[str, str], findings: Sequence[str], count: int, as_read: Callable[[str], str] = str
) -> OwnWords:
    """Sentences that state one finding alone, by frequency; of equally frequent ones the first that was written.

    Args:
        texts: study to answer.
        findings: those that are asked for.
        count: sentences per side, at most.
        as_read: makes of an answer what is read of it; one that is read otherwise than it stands has no places.
    """
    said: dict[tuple[str, float], Counter[str]] = {}
    places: dict[str, dict[str, int]] = {}
    for study, text in texts.items():
        for sentence in sentences(text, findings) if as_read(text) == text else ():
            for name in sentence.values:
                places.setdefault(study, {}).setdefault(name, sentence.start)
            if len(sentence.values) == 1:
                ((name, value),) = sentence.values.items()
                said.setdefault((name, value), Counter())[text[sentence.start : sentence.end].rstrip(" .")] += 1
    own = {key: tuple(words for words, _ in counts.most_common(count)) for key, counts in said.items()}
    sides, borrowed = {}, 0
    for name in findings:
        pairs = readable(statements(name, FALLBACK), name)
        general = tuple(zip(*pairs, strict=True)) if pairs else ((), ())
        both = (own.get((name, 1.0)) or general[0], own.get((name, 0.0)) or general[1])
        if all(both):
            sides[name] = both
            borrowed += sum((name, value) not in own for value in (1.0, 0.0))
    return OwnWords(sides, places, borrowed)


def continuations(words: OwnWords, study: str, text: str, collate: Collator) -> dict[str, Sides]:
    """Finding to the answer up to its place with each of the sentences behind it; left out are findings whose
    continuations do not fit ``student.max_branch_tokens`` or hold characters that the tokenizer does not know."""
    unknown, found = collate.tokenizer.unk_token_id, {}

    def fits(whole: str) -> bool:
        ids = collate.answer(whole).ids
        return len(ids) <= collate.max_branch_tokens and (unknown is None or unknown not in ids)

    for name, sides in words.sides.items():
        start = words.before(study, name, text)
        present, absent = (tuple(start + each for each in side) for side in sides)
        if known([(*present, *absent)], fits):
            found[name] = (present, absent)
    return found


@torch.no_grad()
def decisions(
    student: Student,
    data: CXRDataModule,
    studies: Sequence[Study],
    texts: Mapping[str, str],
    words: OwnWords,
    collate: Collator,
    device: torch.device,
) -> list[dict[str, float]]:
    """Of each study the probability of present of each finding that could be asked."""
    student.to(device)
    asked = [continuations(words, study.id, texts.get(study.id, ""), collate) for study in studies]
    most = max((sum(len(side) for sides in own.values() for side in sides) for own in asked), default=1)
    size, found = max(1, AT_ONCE // max(1, most)), [dict[str, float]() for _ in studies]
    order = [place for place, own in enumerate(asked) if own]
    for start in range(0, len(order), size):
        part = order[start : start + size]
        items = [(Example(studies[i], _branches(asked[i])), data.images(studies[i])) for i in part]
        batch = data.transfer_batch_to_device(collate(items), device, 0)
        for place, logps in zip(part, student.score(batch).logps.double().cpu(), strict=True):
            found[place] = _shares(asked[place], logps)
    return found


def _branches(own: Mapping[str, Sides]) -> tuple[Branch, ...]:
    return tuple(Branch(name, text, cut=True) for name, sides in own.items() for side in sides for text in side)


def _shares(own: Mapping[str, Sides], logps: torch.Tensor) -> dict[str, float]:
    """Finding to the share of the present side; ``logps`` ``[U]`` in the order of `_branches`."""
    found, at = {}, 0
    for name, (present, absent) in own.items():
        yes, no = logps[at : at + len(present)], logps[at + len(present) : at + len(present) + len(absent)]
        found[name] = float((yes.logsumexp(0) - no.logsumexp(0)).sigmoid())
        at += len(present) + len(absent)
    return found


def facts(words: OwnWords, findings: Sequence[str], found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """What a manifest says."""
    return {
        "sentences": {name: [list(side) for side in sides] for name, sides in words.sides.items()},
        "borrowed_sides": words.borrowed,
        "not_asked": sum(len(findings) - len(own) for own in found),
    }
