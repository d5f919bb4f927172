"""Sentences that hedge: words by which a report leaves open whether a finding is there.

The reader takes them for present (`text.labeler`), and "unlikely" or "low suspicion" for absent, so that these are
no hedges here either; a test holds the two together. After the uncertainty phrases of CheXpert's labeler (Irvin et al.
2019, arXiv 1901.07031).
"""

from __future__ import annotations

import re

from apo_lightning.text.labeler import plain_answer
from apo_lightning.text.plain_text import sentences_of
from apo_lightning.text.qualifiers import HEDGE

_WORD = re.compile(r"[^\W\d_]{2,}")


def hedged(text: str) -> tuple[int, int]:
    """How many sentences of a text hedge, and how many there are.

    >>> hedged("Possible edema. No effusion. Pneumonia cannot be excluded.")
    (2, 3)
    """
    words, _ = plain_answer(text, ())
    spoken = [part for part, _, _ in sentences_of(words) if _WORD.search(part)]
    return sum(bool(HEDGE.search(part)) for part in spoken), len(spoken)
