"""Length of the longest common subsequence of two lists of words."""

from __future__ import annotations

from collections.abc import Sequence


def lcs_length(one: Sequence[str], other: Sequence[str]) -> int:
    """A row of the usual table at a time, as the bits of one number (Hyyro 2004): some 100 times faster than the tables
    of rouge-score and pycocoevalcap, to whose values it is held in tests.

    >>> lcs_length("no focal edema is seen".split(), "no edema seen today".split())
    3
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full = row = (1 << len(one)) - 1
    for word in other:
        met = row & places.get(word, 0)
        row = (row + met | row - met) & full
    return len(one) - row.bit_count()
