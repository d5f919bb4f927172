"""Half characters, and places between characters."""

from __future__ import annotations

import re
import unicodedata

HALF = re.compile("[\ud800-\udfff]")
"""Lone surrogates: what is left where a text was cut inside a character. No tokenizer and no UTF-8 file takes one."""
JOINING = frozenset("\u200d\ufe0e\ufe0f")
"""Zero-width joiner and variation selectors: they belong to the character before them."""


def whole(text: str) -> str:
    """``text`` with the replacement character U+FFFD for every half character; its length stays.

    >>> whole("No edema \\ud83d")
    'No edema �'
    """
    return HALF.sub("\ufffd", text)


def boundary(text: str, end: int) -> int:
    """The last place at or before ``end`` where ``text`` can be cut without parting a base from its accents or an emoji
    from its parts.

    >>> boundary("Ode\\u0301m", 3)
    2
    """
    while 0 < end < len(text) and (_joins(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return end


def _joins(character: str) -> bool:
    return bool(unicodedata.combining(character)) or character in JOINING or "\U0001f3fb" <= character <= "\U0001f3ff"
