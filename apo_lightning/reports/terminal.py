"""The results in a terminal: tables that fit its width, in as many parts as that takes, with nothing cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from apo_lightning.reports import table as results
from apo_lightning.reports.columns import MEASURES, Column, short, title
from apo_lightning.reports.groups import Group, groups
from apo_lightning.reports.measured import Results
from apo_lightning.reports.render import narrow
from apo_lightning.reports.sentences import differences
from apo_lightning.reports.significance import TOO_SMALL, comparisons

READING = (
    "[low, high]: 95 % interval of a bootstrap over patients and seeds. Green: best, with a difference from every "
    "other arm whose interval excludes 0."
)
STARS = "*, **: apart from the reference arm at p < .05, .01 (paired test, corrected by Holm)."
WHOLE = ("mean accuracy", "progression", "difference")
"""Heads that are not folded: their cells have an interval."""
ABREAST = 7
"""Columns of one table, at most: more are hard to read even where they fit."""
NARROWEST = 80
"""Columns of a terminal that tables are made for; on a narrower one they fold within words."""
WIDE = 160
"""Columns of a log file."""
LABEL = 30
"""Columns of a label, at most; a longer one folds between its words."""
WORD = 50
"""Columns of a label's longest word, at most, as of one that names a loss in brackets; a longer one folds within."""
GAP = 3
"""Columns between two columns."""
SHORTER = {
    "balanced accuracy": "balanced",
    "agreement of seeds": "kappa",
    "flip consistency": "flips",
    "progression, macro": "macro",
    "course not told": "not told",
    "invented a study": "a study",
    "missed a study": "a study",
}


def tables(found: Results, name: str, width: int = NARROWEST) -> list[Table]:
    """The summaries, the measure per finding, and the arms beside their reference, for a terminal of ``width``."""
    shown = [group for group in groups(found) if not group.folded]
    logp = next((group for group in shown if group.name == "logp"), None)
    made = [table for group in shown if group is not logp for table in _group(group, found, name, width)]
    lines = [line for own in differences(found) for line in own.lines]
    return [*made, _arms(found, logp)] if lines or logp else made


def reading(found: Results) -> list[str]:
    """What brackets, colours and stars mean."""
    small = [TOO_SMALL] if comparisons(found).any_small else []
    return [READING, *([STARS, *small] if len(found.tests) else [])]


def _group(group: Group, found: Results, name: str, width: int) -> list[Table]:
    """As many tables as its columns need; each says that it goes on, or which part it is."""
    each = any(column.finding != "mean" for column in group.columns)
    word = title(found.values).removeprefix("mean ")
    said = (
        f"{word} per finding"
        if each
        else "summary"
        if group.name == "text"
        else group.title[:1].lower() + group.title[1:]
    )
    heads = _heads(group, each=each)
    parts = _parts(group, heads, max(width, NARROWEST))
    of = [f" ({number} of {len(parts)})" if len(parts) > 1 else "" for number in range(1, len(parts) + 1)]
    return [_rows(group, f"{name}: {said}{part}", which, heads) for part, which in zip(of, parts, strict=True)]


def _heads(group: Group, *, each: bool) -> list[str]:
    titles = [column.title for column in group.columns]
    return short(titles) if each else [SHORTER.get(own, own) for own in titles]


def _parts(group: Group, heads: Sequence[str], width: int) -> list[list[int]]:
    """Columns of each table: as many as stand side by side without a word or a number being cut."""
    labels = [row.label for _, rows in group.sections for row in rows]
    room = width - min(_room(labels), max(map(cell_len, labels), default=0)) - GAP
    parts: list[list[int]] = []
    left = 0
    for i in range(len(group.columns)):
        need = _width(group, heads[i], i) + GAP
        if not parts or need > left or len(parts[-1]) == ABREAST:
            parts.append([])
            left = room
        parts[-1].append(i)
        left -= need
    return parts


def _room(labels: Sequence[str]) -> int:
    """Columns in which labels stand without a word of theirs being cut."""
    return max(LABEL, min(WORD, max((cell_len(word) for label in labels for word in label.split()), default=0)))


def _width(group: Group, head: str, i: int) -> int:
    """Of the longest word of a head, of one that is not folded of all of it, and of every cell."""
    words = [head] if head in WHOLE else head.split()
    cells = [_cell(row.cells[i], group.columns[i]) for _, rows in group.sections for row in rows]
    return max(cell_len(own) for own in [*words, "", *(Text.from_markup(cell).plain for cell in cells)])


def _rows(group: Group, said: str, which: Sequence[int], heads: Sequence[str]) -> Table:
    labels = [row.label for _, rows in group.sections for row in rows]
    table = _bare(said, [heads[i] for i in which], labels)
    for _, rows in group.sections:
        for row in rows:
            table.add_row(escape(row.label), *(_cell(row.cells[i], group.columns[i]) for i in which))
        table.add_section()
    return table


def _arms(found: Results, logp: Group | None) -> Table:
    """Arms alone: the measure minus that of the reference arm, and log-probabilities before and after."""
    apart = {line.arm: line.cell for own in differences(found) for line in own.lines}
    against = next((own.against for own in differences(found)), "")
    columns = list(logp.columns) if logp else []
    known = {row.arm: row for _, rows in (logp.sections if logp else []) for row in rows if row.kind == "arm"}
    said = f"{title(found.values)} minus {against}, paired" if apart else "log p"
    table = _bare(
        f"{said}{'; log p in nats' if columns else ''}",
        [*(["difference"] if apart else []), *(column.title for column in columns)],
        list(results.arm_labels(found.values).values()),
    )
    for arm, label in results.arm_labels(found.values).items():
        cell = apart.get(arm, results.Cell("–"))
        text = escape(f"{cell.value} {narrow(cell.spread)}".strip())
        values = [own.value for own in known[arm].cells] if arm in known else ["–"] * len(columns)
        table.add_row(escape(label), *([text] if apart else []), *values)
    return table


def _bare(said: str, heads: Sequence[str], labels: Sequence[str]) -> Table:
    table = Table(title=escape(said), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", max_width=_room(labels), overflow="fold")
    for head in heads:
        table.add_column(escape(head), justify="right", no_wrap=head in WHOLE)
    return table


def _cell(cell: results.Cell, column: Column) -> str:
    """Only the mean accuracy keeps its interval, and says that it is too small: a terminal is narrow, and the written
    report has them all."""
    value = (cell if column.finding == "mean" else replace(cell, small=False)).value
    text = f"[bold green]{value}[/]" if cell.bold else value
    measured = column.metric in MEASURES and column.finding == "mean"
    return f"{text} [dim]{escape(narrow(cell.spread))}[/]" if cell.spread and measured else text
