"""A report or a chat model's answer as plain lower-case sentences, each character traced back to where it stood."""

from __future__ import annotations

import re

_BREAK = re.compile(r"\n\s*\n|(?<!:)\n\s*(?=[-•*✅A-Z]|\d+[.)])")
_STUTTER = re.compile(r"\b(\w+(?: \w+){0,3})(?: \1\b){2,}")
_MARKDOWN = [
    (re.compile(pattern), new)
    for pattern, new in ((r"\*\*", ""), ("__", ""), ("\u2019", "'"), (_BREAK.pattern, " . "), (r"[*#`_]", " "))
]
_SPACE = [(re.compile(r"^\s+|\s+$"), ""), (re.compile(r"\s+"), " "), (_STUTTER, " ")]
SENTENCE = re.compile(r"(?<=[.!?;])\s+")
"""What parts the sentences of a plain text."""


def plain(text: str) -> tuple[str, list[int]]:
    """Lower case on one line, without markdown; each list item a sentence of its own, stuttered words gone.

    Returns:
        the plain text, and for each of its characters where it stands in ``text``.
    """
    origin = list(range(len(text)))
    for pattern, new in _MARKDOWN:
        text, origin = _replace(pattern, new, text, origin)
    text = _lower(text)
    for pattern, new in _SPACE:
        text, origin = _replace(pattern, new, text, origin)
    return text, origin


def _replace(pattern: re.Pattern[str], new: str, text: str, origin: list[int]) -> tuple[str, list[int]]:
    """``pattern.sub(new, text)``; what is put in stands where the match began."""
    parts: list[str] = []
    places: list[int] = []
    end = 0
    for match in pattern.finditer(text):
        parts += text[end : match.start()], new
        places += origin[end : match.start()] + origin[match.start() : match.start() + 1] * len(new)
        end = match.end()
    return ("".join([*parts, text[end:]]), places + origin[end:]) if end else (text, origin)


def _lower(text: str) -> str:
    """Lower case, character by character where the whole would change its length."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(letter.lower()[0] for letter in text)
