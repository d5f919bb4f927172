"""Half characters, characters that command, and places between characters."""

from __future__ import annotations

import re
import unicodedata

HALF = re.compile("[\ud800-\udfff]")
"""Lone surrogates: what is left where a text was cut inside a character. No tokenizer and no UTF-8 file takes one."""
COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What a terminal or a page obeys and does not show: control characters but for the tab and the end of a line, marks of
direction, other ends of lines, characters without a width, and halves."""
JOINING = frozenset("\u200d\ufe0e\ufe0f")
"""Zero-width joiner and variation selectors: they belong to the character before them."""


def whole(text: str) -> str:
    """``text`` with the replacement character U+FFFD for every half character; its length stays.

    >>> whole("No edema \\ud83d")
    'No edema �'
    """
    return HALF.sub("\ufffd", text)


def visible(text: str) -> str:
    """``text`` with every character that commands written out as Python would.

    >>> visible("gpt\\x1b[2J5")
    'gpt\\\\x1b[2J5'
    """
    return COMMANDS.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


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
