"""Half characters, and places between characters."""

from __future__ import annotations

import re

import regex

HALF = re.compile("[\ud800-\udfff]")
"""Lone surrogates: what is left where a text was cut inside a character. No tokenizer and no UTF-8 file takes one."""
CHARACTER = regex.compile(r"\X")
"""What a reader sees as one (Unicode's extended grapheme cluster): a base with its accents or vowel signs, an emoji
with its parts, a flag."""


def whole(text: str) -> str:
    """``text`` with the replacement character U+FFFD for every half character; its length stays.

    >>> whole("No edema \\ud83d")
    'No edema �'
    """
    return HALF.sub("\ufffd", text)


def boundary(text: str, end: int) -> int:
    """The last place at or before ``end`` where ``text`` can be cut without parting a character: a base from its
    accents, an emoji from its parts, a flag from its other half.

    >>> boundary("Ode\\u0301m", 3)
    2
    """
    if not 0 < end < len(text):
        return min(max(end, 0), len(text))
    place = max(text.rfind(" ", 0, end), 0)
    for found in CHARACTER.finditer(text, place):
        if found.end() > end:
            break
        place = found.end()
    return place
