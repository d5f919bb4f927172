"""Tables with ``|`` as plain statements: a row ``| Edema | No | 0.9 |`` becomes "edema: no.".

Which column names findings and which holds the verdict is read from the cells first and the header second: models order
columns as they like.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apo_lightning.text.headings import heading
from apo_lightning.text.traced import Traced
from apo_lightning.text.verdicts import spelled, verdict

LONGEST = 200
"""Characters of a title that are looked at."""
_RULE = re.compile(r"[\s|:+=-]*-[\s|:+=-]*")
_HEADER: dict[str, re.Pattern[str]] = {
    "verdict": re.compile(
        r"present.*|presence.*|status|result|assessment|yes ?/ ?no|detected|observed|seen|answer|label|value"
        r"|state|visible"
        r"|identified|interpretation|evaluation|prediction|conclusion|impression|verdict|positive ?/ ?negative"
        r"|\(?y/n\)?"
    ),
    "chance": re.compile(r"(?:.* )?(?:confidence|prob(?:ability|\.)?|certainty|score|likelihood)\b.*|%|p"),
    "detail": re.compile(r"(?:.* )?(?:side|laterality|location|severity|size|grade|site|extent)\b.*"),
}


@dataclass(frozen=True)
class Cell:
    """The words ``start:end`` of the text."""

    start: int
    end: int
    words: str


def is_rule(line: str) -> bool:
    """Whether a line parts header and body."""
    return "|" in line and _RULE.fullmatch(line) is not None


def cells(text: str, start: int, end: int) -> list[Cell]:
    """The cells of the line ``start:end``."""
    found, at = [], start
    for part in text[start:end].split("|"):
        words = part.strip()
        begin = at + part.find(words)
        found.append(Cell(begin, begin + len(words), words))
        at += len(part) + 1
    first = 1 if found and not found[0].words else 0
    last = len(found) - 1 if len(found) > 1 and not found[-1].words else len(found)
    return found[first:last]


def write_table(rows: Sequence[list[Cell]], named: Callable[[str], bool], out: Traced) -> None:
    """Write what the rows of one table state, the first of which may be its header; nothing of one without rows."""
    if not rows:
        return
    head, body = rows[0], rows[1:]
    across = [i for i, cell in enumerate(head) if named(cell.words)]
    if len(across) > 1 and body and not any(named(row[i].words) for row in body for i in across if i < len(row)):
        _write_across(across, rows, out)
        return
    counted = [0] * max(map(len, rows))
    for row in rows:
        for i, cell in enumerate(row):
            counted[i] += named(cell.words)
    key = counted.index(max(counted)) if any(counted) else 0
    is_head = len(head) > 1 and bool(body) and not named(head[min(key, len(head) - 1)].words)
    titles = [_title(cell.words[:LONGEST]) for cell in head] if is_head else []
    for row in body if is_head else rows:
        if len(row) > key:
            _write_row(row, key, titles, out)


def _write_across(across: list[int], rows: Sequence[list[Cell]], out: Traced) -> None:
    """Findings stand in the header, verdicts below."""
    for row in rows[1:]:
        for i in (i for i in across if i < len(row)):
            out.put(f"{rows[0][i].words[:LONGEST]}: ", row[i].start)
            _write_cell(row[i], out)
            out.put(" . ", max(row[i].end - 1, row[i].start))


def _write_cell(cell: Cell, out: Traced) -> None:
    sign = spelled(cell.words, ticked=True)
    out.put(sign, cell.start) if sign else out.copy(cell.start, cell.end)


def _title(words: str) -> str:
    return re.sub(r"[\s*_`]+", " ", words.lower()).strip(" ?")


def _write_row(row: list[Cell], key: int, titles: list[str], out: Traced) -> None:
    name, end = row[key], row[-1].end
    others = [(titles[i] if i < len(titles) else "", cell) for i, cell in enumerate(row) if i != key and cell.words]
    out.copy(name.start, name.end)
    ticked = _ticked(row, key, titles)
    if ticked is not None:
        out.put(f": {ticked}", max(name.end - 1, name.start))
    else:
        for i, cell in enumerate(_chosen(others)):
            out.put(", " if i else ": ", max(name.end - 1, name.start))
            _write_cell(cell, out)
    for title, cell in others:
        if _HEADER["detail"].fullmatch(title) and verdict(cell.words) is None:
            out.put(", ", cell.start).copy(cell.start, cell.end)
    out.put(" . ", max(end - 1, name.start))


def _ticked(row: list[Cell], key: int, titles: list[str]) -> str | None:
    """Of columns that are verdicts themselves ("Present" beside "Absent") the one that is ticked."""
    said = {i: heading(title) for i, title in enumerate(titles) if i != key and heading(title) is not None}
    if not said or (len(said) == 1 and 0.0 not in said.values()):
        return None
    for i, value in said.items():
        if i < len(row) and row[i].words and verdict(row[i].words, ticked=True) == 1 and value is not None:
            return "n/a" if math.isnan(value) else "yes" if value else "no"
    for i, value in said.items():  # one column alone: what is not absent is present
        if len(said) == 1 and i < len(row) and verdict(row[i].words) == 0:
            return "no" if value else "yes"
    return None


def _chosen(others: list[tuple[str, Cell]]) -> list[Cell]:
    """The verdict: under a title that asks for one, in any other column, as a probability; else all descriptions."""
    plain = [(t, c) for t, c in others if not _HEADER["chance"].fullmatch(t) and not _HEADER["detail"].fullmatch(t)]
    full = [(t, c) for t, c in plain if verdict(c.words, ticked=True) is not None]
    asked = [c for t, c in full if _HEADER["verdict"].fullmatch(t)]
    likely = [c for t, c in others if _HEADER["chance"].fullmatch(t) and verdict(c.words) is not None]
    if asked or full:
        return [(asked or [c for _, c in full])[0]]
    described = [c for _, c in plain]
    if likely and not described:
        return likely[:1]
    return described
