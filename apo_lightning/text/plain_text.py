"""A report or a chat model's answer as plain lower-case sentences, each character traced back to where it stood."""

from __future__ import annotations

import re
from collections.abc import Iterator

from apo_lightning.text.slots import SLOT
from apo_lightning.text.verdicts import VALUE

_BREAK = re.compile(
    r"\n\s*\n|(?<!:)\n\s*(?=[-\u2022*\u2705A-Z]|\d+[.)]|[a-z]\)|[\w /-]{1,40}?\s?[:=?]"
    rf"|[\w /-]{{1,40}}? - {VALUE})"
)
_STUTTER = re.compile(r"\b(\w+(?: \w+){0,3})(?: \1\b){2,}")
_ANSWERED = rf"\?\W{{1,6}}(?:(?:the )?(?:answer|a|response|assistant)\W{{1,4}})?(?={VALUE})"
_FIELD = (
    r"\n(?:\s*(?:[-*]\s+)?(?:status|result|answer|verdict|assessment)|[ \t]{2,}(?:present|presence|detected"
    r"|value|state))\s*:"
    rf"\s*(?={VALUE})"
)
"""The second line of an entry: its verdict."""
_MARKDOWN = [
    (re.compile(pattern, flags), new)
    for pattern, new, flags in (
        (rf"(?<=[:=])[\s*]{{0,4}}(?:{SLOT})", " n/a", re.IGNORECASE),
        (r"\*\*", "", 0),
        ("__", "", 0),
        ("[\u2019\u02bc]", "'", 0),
        ("[\u2010\u2011\u2012\u2013\u2014\u2212]", "-", 0),
        (r"</?[a-zA-Z][^<>]{0,40}>", " ", 0),
        (r"\\[nrt]", "\n", 0),
        (_ANSWERED, ": ", re.IGNORECASE | re.MULTILINE),
        (rf"\s{{0,4}}(?:\.{{3,}}|\u2026)\s*(?={VALUE})", ": ", re.IGNORECASE | re.MULTILINE),
        (_FIELD, ": ", re.IGNORECASE | re.MULTILINE),
        (_BREAK.pattern, " . ", re.MULTILINE),
        (r"[*#`_\\]", " ", 0),
        (r"\ufe0f", "", 0),
        (r"[\"\u201c\u201d]", "", 0),
    )
]
_SPACE = [(re.compile(r"^\s+|\s+$"), ""), (re.compile(r"\s+"), " "), (_STUTTER, " ")]
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
LONGEST = 2_000
"""Characters of a sentence, ten times a long one. What patterns take may grow with its square: a longer one is read in
pieces."""
_PIECE = re.compile(rf"\S(?:.{{0,{LONGEST - 2}}}\S)?(?=\s|\Z)|\S{{1,{LONGEST}}}", re.DOTALL)

_SIGNS = 64
_RUN = re.compile(rf"[\W_]{{{_SIGNS},}}|([\W_])\1{{15,}}|\s{{16,}}")
"""Long runs of signs, which say no more than short ones and would make patterns slow."""


def sentences_of(words: str) -> Iterator[tuple[str, int, int]]:
    """The sentences of a plain text with their places, none longer than ``LONGEST``."""
    start = 0
    for end, after in [*map(re.Match.span, _SENTENCE.finditer(words)), (len(words), len(words))]:
        if end - start > LONGEST:
            yield from ((piece.group(), *piece.span()) for piece in _PIECE.finditer(words, start, end))
        elif end > start:
            yield words[start:end], start, end
        start = after


def _cut(run: str) -> str:
    if run.isspace() or len(set(run)) == 1:
        return "\n\n" if "\n" in run else run[:6]
    return run[: _SIGNS // 2] + "\n" * ("\n" in run[_SIGNS // 2 :])


def squeezed(text: str) -> tuple[str, list[int]]:
    """``text`` with long runs of signs cut short, and for each character where it stood."""
    parts: list[str] = []
    places: list[int] = []
    end = 0
    for run in _RUN.finditer(text):
        kept = _cut(run.group())
        parts += text[end : run.start()], kept
        places += [*range(end, run.start()), *range(run.start(), run.start() + len(kept))]
        end = run.end()
    return "".join([*parts, text[end:]]), [*places, *range(end, len(text))]


def plain(text: str, origin: list[int] | None = None) -> tuple[str, list[int]]:
    """Lower case on one line, without markdown; each list item a sentence of its own, stuttered words gone.

    Args:
        text: what to make plain.
        origin: where each of its characters stood before, if it has been changed already.

    Returns:
        the plain text, and for each of its characters where it stands in ``text``, or stood before.
    """
    origin = list(range(len(text))) if origin is None else origin
    for pattern, new in _MARKDOWN:
        before = text
        text, origin = _replace(pattern, new, text, origin)
        if new.isspace() and text is not before:  # blanks that were put in may have made long runs
            text, places = squeezed(text)
            origin = [origin[place] for place in places]
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
