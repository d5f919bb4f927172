"""Drift in a terminal: prose in lines that can be read, tables in as many parts as its width takes, nothing cut."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from apo_lightning.console import Console, print_whole
from apo_lightning.reports.drift_tables import DriftTable

PROSE = 110
"""Columns of a line of prose, at most."""
NARROWEST = 80
"""Columns that tables are made for; on a narrower terminal they fold within words."""
LABEL, TEXT, GAP, EDGES = 30, 24, 3, 2
"""Columns of a label at most, of a cell of words at least, between two columns, and at both sides of a table."""
WORDS = 14
"""Characters from which on a cell is no number."""
GLOSSARY = "Words: docs/glossary.md"


def show(sentences: Sequence[str], tables: Sequence[DriftTable], console: Console) -> None:
    """Print sentences and tables."""
    width = min(console.width, PROSE) if console.is_terminal else PROSE
    for sentence in sentences:
        _prose(sentence, width, console)
    for table in tables:
        for part in parts(table, console.width):
            print_whole(part, console)
        if table.note:
            _prose(table.note, width, console, "dim")
    _prose(GLOSSARY, width, console, "dim")


def _prose(text: str, width: int, console: Console, style: str | None = None) -> None:
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    console.print("\n".join(lines), style=style, markup=False, soft_wrap=True)


def parts(table: DriftTable, width: int) -> list[Table]:
    """Tables of a terminal of so many columns, each with as many columns as stand there with head words, values and
    intervals whole."""
    room = max(width, NARROWEST) - _label(table) - EDGES
    groups, left = list[list[int]](), 0
    for i, head in enumerate(table.heads):
        need = _least(head, _column(table, i)) + GAP
        if not groups or need > left:
            groups.append([])
            left = room
        groups[-1].append(i)
        left -= need
    of = [f" ({number} of {len(groups)})" if len(groups) > 1 else "" for number in range(1, len(groups) + 1)]
    return [_rich(table, f"{table.title}{part}", group) for part, group in zip(of, groups, strict=True)]


def _label(table: DriftTable) -> int:
    return min(LABEL, max((cell_len(label) for label, _ in table.rows), default=0))


def _column(table: DriftTable, i: int) -> list[str]:
    return [line for _, cells in table.rows for line in (cells[i].value, cells[i].spread)]


def _is_words(column: Sequence[str]) -> bool:
    return any(len(line) >= WORDS and not line.startswith("[") for line in column)


def _least(head: str, column: Sequence[str]) -> int:
    """Columns that the longest word of a head takes, and every number and interval."""
    cells = [TEXT] if _is_words(column) else map(cell_len, column)
    return max([*map(cell_len, head.split()), *cells], default=0)


def _rich(table: DriftTable, title: str, group: Sequence[int]) -> Table:
    """Intervals stand below the values."""
    made = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("", min_width=_label(table), max_width=LABEL, overflow="fold")
    for i in group:
        words = _is_words(_column(table, i))
        least = _least(table.heads[i], _column(table, i))
        made.add_column(Text(table.heads[i]), justify="left" if words else "right", overflow="fold", min_width=least)
    for label, cells in table.rows:
        made.add_row(Text(label), *(Text(f"{cells[i].value}\n{cells[i].spread}".strip()) for i in group))
    return made
