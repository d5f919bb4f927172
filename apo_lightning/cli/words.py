"""The settings that ``make`` hands on in one piece: ``SET="pool.weights={name: router} seeds=[0, 1]"``.

A shell would split such a value at its blanks, and some take braces for lists of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

HANDED_ON = "--set"
OPEN, CLOSED, QUOTES = "{[(", "}])", "\"'"


def expanded(arguments: Sequence[str]) -> list[str]:
    """Arguments with the text behind ``--set`` as words of their own."""
    found, rest = list[str](), iter(arguments)
    for word in rest:
        found += split(next(rest, "")) if word == HANDED_ON else [word]
    return found


def split(text: str) -> list[str]:
    """Words of ``text``: blanks part them, but for those in quotes or brackets. Quotes around a word, or a part of it,
    go, as in a shell; those in brackets belong to the value.

    >>> split("pool.weights={name: router} --budget money=5 name='my run'")
    ['pool.weights={name: router}', '--budget', 'money=5', 'name=my run']
    """
    words, word, depth, quote = list[str](), None, 0, ""
    for sign in text:
        if not quote and not depth and sign.isspace():
            words, word = ([*words, word] if word is not None else words), None
            continue
        word, ends = word or "", sign == quote
        if not quote and sign in QUOTES:
            quote = sign
        elif not quote:
            depth = max(0, depth + (sign in OPEN) - (sign in CLOSED))
        if depth or (not ends and sign != quote):
            word += sign
        if ends:
            quote = ""
    return [*words, word] if word is not None else words
