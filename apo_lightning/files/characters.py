"""Half characters, characters that command, and places between characters."""

from __future__ import annotations

import re

import regex

HALF = re.compile("[\ud800-\udfff]")
"""Lone surrogates: what is left where a text was cut inside a character. No tokenizer and no UTF-8 file takes one."""
COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What a terminal or a page obeys and does not show: control characters but for the tab and the end of a line, marks of
direction, other ends of lines, characters without a width, and halves."""
CHARACTER = regex.compile(r"\X")
"""What a reader sees as one (Unicode's extended grapheme cluster): a base with its accents or vowel signs, an emoji
with its parts, a flag."""


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
