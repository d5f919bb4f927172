"""The reasoning steps of a text: its sentences, or parts of equal length. Where each sentence and token belongs."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from apo_lightning.text.labeler import plain_answer
from apo_lightning.text.plain_text import sentences_of

Span = tuple[int, int]
_WORD = re.compile(r"[^\W\d_]{2,}")


def sentence_spans(text: str) -> list[Span]:
    """Start and end of each sentence of a text, in order, as the reader of findings parts it: a list item is a
    sentence. What says no word is none; thinking is left out.

    >>> text = "No edema.  **Left** effusion."
    >>> [text[a:b] for a, b in sentence_spans(text)]
    ['No edema.', 'Left** effusion.']
    """
    words, origin = plain_answer(text, ())
    found = []
    for part, start, end in sentences_of(words):
        if _WORD.search(part):
            places = origin[start:end]
            found.append((min(places), max(places) + 1))
    return found


def at_positions(count: int, steps: int) -> list[int]:
    """Which of ``count`` sentences stands at the middle of each of ``steps`` equal parts of a text.

    >>> at_positions(2, 4), at_positions(8, 4)
    ([0, 0, 1, 1], [1, 3, 5, 7])
    """
    return [int((k + 0.5) / steps * count) for k in range(steps)] if count else []


def token_positions(count: int, steps: int) -> np.ndarray:
    """The part of equal length ``[count]`` in which each token lies; some parts are empty where there are fewer tokens.

    >>> token_positions(4, 2).tolist(), token_positions(2, 4).tolist()
    ([0, 0, 1, 1], [1, 3])
    """
    return ((np.arange(count) + 0.5) / max(count, 1) * steps).astype(int)


def token_sentences(offsets: Sequence[Span], spans: Sequence[Span], steps: int) -> np.ndarray:
    """The sentence in which each token begins, -1 from sentence ``steps`` on. What stands between two sentences belongs
    to the one before; a token of no width goes with what is before it.

    >>> token_sentences([(0, 2), (3, 9), (11, 17), (17, 17)], [(0, 9), (11, 17)], 5).tolist()
    [0, 0, 1, 1]
    """
    starts = [start for start, _ in spans]
    found = np.array([max(bisect_right(starts, a) - 1, 0) for a, _ in offsets], dtype=int)
    return np.where(found < steps, found, -1)
