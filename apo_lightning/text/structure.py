"""Unfolds what models write beside sentences (JSON, tables, ticks, lists under a heading) into sentences.

Each becomes "name: verdict." in place; the rules for sentences then read one form. Lines that are none of these stay as
they are, to the character.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from apo_lightning.text.headings import heading
from apo_lightning.text.json_tokens import START, read_value
from apo_lightning.text.json_values import write_value
from apo_lightning.text.table_rows import cells, is_rule, write_table
from apo_lightning.text.traced import Traced
from apo_lightning.text.verdicts import CROSSES, TICKS, verdict

_BULLET = re.compile(r"\s*(?:[-*\u2022\u25e6\u25aa\u25cf\u2013>+]|\d{1,3}[.)]|[a-z][.)])\s+")
_TITLE = re.compile(r"\s*(?:#{1,6}\s|\*\*)")
_MARK = re.compile(
    rf"(?P<tick>[{TICKS}]\ufe0f?|\(\++\)|\[\++\]|\[[xX]\])|(?P<cross>[{CROSSES}]\ufe0f?|\([-\u2013\u2212]\)"
    rf"|\[[-\u2013\u2212]\]|\[ ?\](?!\())"
)
_SIGN = re.compile(r"(?<=[a-z):=]) ?(?:(?P<tick>\+{1,4})|(?P<cross>[-\u2013\u2212]))(?=\s*(?:[,.;)]|$))", re.IGNORECASE)
_BOLD = re.compile(r"(?:\d{1,2}[.)]\s*)?\*\*[^*\n]+\*\*:?")
_CSV = re.compile(
    r"\s*\"?(?P<key>[\w ]{2,40}?)\"?\s*[,;\t]\s*\"?(?P<value>[^\"',;\t\n]{1,20}?)\"?\s*(?:[,;\t][^,;\t]{0,40})*"
)
_ELEMENT = re.compile(r"<(?P<key>[a-zA-Z][\w -]{1,40})>(?P<value>[^<>]{1,120})</(?P=key)>")
_AFTER = re.compile(r"\s{0,4}[\w(]")
_MORE = re.compile(r"\s{0,4}\*{0,2}\s{0,4}(?=\w)")
_LETTER = re.compile(r"[^\W_]")
_KEYED = re.compile(r"[:=\u2192]\s*\**\s*$")
COLUMNS = 200
_FENCE = re.compile(r"\s*(?:```|~~~)\s*\w*\s*")


def unfold(text: str, named: Callable[[str], bool]) -> tuple[str, list[int]]:
    """``text`` with its structures as sentences, and for each character where it stood.

    Args:
        text: a report or an answer.
        named: whether words name a finding.
    """
    out = Traced(text)
    at = 0
    while (found := START.search(text, at)) is not None:
        value, end = read_value(text, found.start())
        if value is not None:
            _write_lines(text, at, found.start(), named, out)
            out.put(" . ", found.start())
            write_value(value, out)
            out.put("\n\n", end - 1)
        else:
            _write_lines(text, at, end, named, out)
        at = end
    _write_lines(text, at, len(text), named, out)
    return out.text, out.places


@dataclass
class _Line:
    start: int
    end: int


def _write_lines(text: str, start: int, end: int, named: Callable[[str], bool], out: Traced) -> None:
    lines = _lines(text, start, end)
    i, scope = 0, _Scope()
    while i < len(lines):
        size = _table(text, lines, i)
        if size:
            rows = [cells(text, li.start, li.end) for li in lines[i : i + size] if not is_rule(text[li.start : li.end])]
            write_table([row for row in rows if row], named, out)
            out.put("\n", lines[i + size - 1].end - 1)
            i += size
            continue
        line = lines[i]
        words = text[line.start : line.end]
        below = _below(text, lines, i, named) if len(words) <= 80 and named(words) else None
        if below is not None and scope.said is None:
            at = line.start + len(words.rstrip(" \t\n:*_#"))
            out.copy(line.start, at).put(": ", at - 1)
            bullet = _BULLET.match(text, lines[below].start, lines[below].end)
            lines[below] = _Line(bullet.end() if bullet else lines[below].start, lines[below].end)
            i = below
            continue
        if not _FENCE.fullmatch(words):
            _write_line(text, line, scope.enter(words), named, out)
        i += 1


def _lines(text: str, start: int, end: int) -> list[_Line]:
    found, at = [], start
    while at < end:
        stop = text.find("\n", at, end)
        stop = end if stop < 0 else stop + 1
        found.append(_Line(at, stop))
        at = stop
    return found


def _below(text: str, lines: list[_Line], i: int, named: Callable[[str], bool]) -> int | None:
    """The line that says what holds of the i-th, if that is a title: "### Edema", "**Edema**", "Edema:", or a bare name
    above a verdict."""
    words = text[lines[i].start : lines[i].end].strip()
    j = i + 1
    while j < len(lines) and not text[lines[j].start : lines[j].end].strip():
        j += 1
    if j == len(lines):
        return None
    under = text[lines[j].start : lines[j].end].strip()
    body = _BULLET.sub("", under, count=1)
    if (
        under[0] == "#"
        or "|" in under
        or _BOLD.fullmatch(under)
        or (heading(under) is not None and under.endswith(":"))
    ):
        return None
    bare = words.strip("*_#: ")
    if (
        not any(mark in bare for mark in ".:;=|?")
        and verdict(body) is not None
        and not named(body)
        and len(bare.split()) <= 5
    ):
        return j
    titled = words[0] == "#" or _BOLD.fullmatch(words) is not None or words.rstrip("*_ ").endswith(":")
    return j if titled and not any(mark in bare for mark in ".;=|?") else None


def _table(text: str, lines: list[_Line], i: int) -> int:
    """How many lines from the i-th on are one table. A line of more columns than any answer has is text."""
    size = 0
    while i + size < len(lines) and 0 < text.count("|", lines[i + size].start, lines[i + size].end) <= COLUMNS:
        size += 1
    return size


@dataclass
class _Scope:
    """What the last heading said of the lines below it."""

    said: float | None = None
    items: int = 0
    gap: bool = False

    def enter(self, line: str) -> float | None:
        """What holds of this line because of a heading above it; None where nothing does."""
        words = line.strip()
        if not words:
            self.gap = self.items > 0
            return None
        bullet = _BULLET.match(line)
        body = words if bullet is None else line[bullet.end() :].strip()
        titled = words.rstrip("*_ ").endswith(":") or _TITLE.match(words) is not None
        own = heading(body) if titled else None
        if own is not None or (titled and words.rstrip("*_ ").endswith(":") and bullet is None) or words[0] == "#":
            self.said, self.items, self.gap = own, 0, False
            return math.inf if own is not None else None
        if self.said is not None and bullet is None and (self.gap or len(body) > 80):
            self.said = None
        self.items += 1
        return self.said


def _write_line(text: str, line: _Line, said: float | None, named: Callable[[str], bool], out: Traced) -> None:
    """One line, its ticks as words, and under the heading it stands."""
    words = text[line.start : line.end]
    fields = [_CSV.fullmatch(words), *_ELEMENT.finditer(words)]
    pairs = [f for f in fields if f and named(f["key"]) and not named(f["value"]) and verdict(f["value"]) is not None]
    if pairs:
        for pair in pairs:
            out.copy(line.start + pair.start("key"), line.start + pair.end("key")).put(
                ": ", line.start + pair.end("key")
            )
            out.copy(line.start + pair.start("value"), line.start + pair.end("value")).put(" .\n", line.end - 1)
        return
    if said == math.inf or (said is not None and not named(words) and _is_empty(words)):  # the heading was taken up
        out.put(" .\n", line.end - 1)
        return
    bullet = _BULLET.match(words)
    start = line.start + (bullet.end() if bullet and said in (0.0, 1.0) else 0)
    if said is not None:
        out.put("\n", line.start)
    if said == 0:
        out.put("no ", start)
    _write_marked(text, start, line.end, out)
    if said is not None:
        if math.isnan(said):
            out.put(": n/a", line.end - 1)
        out.put(" .\n", line.end - 1)


def _is_empty(item: str) -> bool:
    """Whether an item of a list names nothing: it is a verdict, or was cut off behind its bullet."""
    body = _BULLET.sub("", item, count=1)
    return verdict(body) is not None or _LETTER.search(body) is None


def _write_marked(text: str, start: int, end: int, out: Traced) -> None:
    """``start:end`` with marks as words: before a name they lead, behind it they follow."""
    words = text[start:end]
    marks = sorted([*_MARK.finditer(words), *_SIGN.finditer(words)], key=lambda m: m.start()) if words.strip() else []
    if not marks:
        out.copy(start, end)
        return
    leads = not re.search(r"\w", words[: marks[0].start()].lstrip("0123456789.) "))
    at = start
    for i, mark in enumerate(marks):
        here = start + mark.start()
        if here < at:
            continue
        out.copy(at, here)
        after = _AFTER.match(words, mark.end())
        keyed = _KEYED.search(words[max(0, mark.start() - 8) : mark.start()])
        cross = mark["cross"] is not None
        if leads:
            out.put("\n- " if i else "", here).put("no " if cross else "", here)
        elif keyed:
            out.put("no " if cross else "yes" if not after else "", here)
        else:
            more = _MORE.match(words, mark.end())
            out.put(": no" if cross else ": yes", here).put(" . " if more else "", here)
        at = start + mark.end()
    out.copy(at, end)
