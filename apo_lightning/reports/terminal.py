"""The results in a terminal: tables that fit 80 columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from apo_lightning.reports import render
from apo_lightning.reports import table as results
from apo_lightning.reports.measured import Results

READING = (
    "[low, high]: 95 % interval of a bootstrap over patients and seeds. Green: best, with a difference from every "
    "other arm whose interval excludes 0."
)
ABREAST = 7
"""Findings of one table; more would not fit 80 columns."""


def tables(found: Results, name: str) -> list[Table]:
    """The summary, accuracy a finding, and the arms beside their reference."""
    shown = results.columns(found.values)
    title = results.title(found.values).removeprefix("mean ")
    nats = [i for i, column in enumerate(shown) if column.metric.startswith("logp")]
    finding = [i for i, column in enumerate(shown) if column.finding != "mean"]
    summary = [i for i in range(len(shown)) if i not in finding + nats]
    made = [_rows_table(found, f"{name}: summary", summary, [shown[i].title for i in summary])] if summary else []
    for start in range(0, len(finding), ABREAST):
        part = finding[start : start + ABREAST]
        heads = short([shown[i].title for i in part])
        made.append(_rows_table(found, f"{name}: {title} a finding", part, heads))
    against, lines = render.differences(found)
    if lines or nats:
        made.append(_arms_table(found, against, nats))
    return made


def _rows_table(found: Results, title: str, which: Sequence[int], heads: Sequence[str]) -> Table:
    table = _bare(title, heads)
    columns = results.columns(found.values)
    for _, rows in render.sections(found):
        for row in rows:
            table.add_row(escape(row.label), *(_cell(row.cells[i], columns[i]) for i in which))
        table.add_section()
    return table


def _arms_table(found: Results, against: str, nats: Sequence[int]) -> Table:
    """Arms alone: mean accuracy minus the reference arm, and log-probabilities before and after."""
    titles = [results.columns(found.values)[i].title for i in nats]
    title = f"{results.title(found.values)} minus {against}, paired{'; log p in nats' if nats else ''}"
    table = _bare(title, ["difference", *titles])
    apart = results.differences(found, against=results.reference_arm(found.values) or "")
    for row in results.rows(found):
        if row.kind == "arm":
            known = row.arm in apart.index and apart.at[row.arm, "n"] > 0
            cell = render.signed(*apart.loc[row.arm, ["mean", "low", "high"]]) if known else results.Cell("–")
            text = escape(f"{cell.text} {narrow(cell.spread)}".strip())
            table.add_row(escape(row.label), text, *(row.cells[i].value for i in nats))
    return table


def _bare(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", max_width=30)
    for head in heads:
        table.add_column(escape(head), justify="right", no_wrap=head in ("mean accuracy", "progression", "difference"))
    return table


def _cell(cell: results.Cell, column: results.Column) -> str:
    """Only the mean accuracy keeps its interval: a terminal is narrow, and the written report has them all."""
    text = f"[bold green]{cell.value}[/]" if cell.bold else cell.value
    measured = column.metric in results.MEASURES and column.finding == "mean"
    return f"{text} [dim]{escape(narrow(cell.spread))}[/]" if cell.spread and measured else text


def narrow(spread: str) -> str:
    """An interval without its leading zeros.

    >>> narrow("[-0.250, 0.300]")
    '[-.250, .300]'
    """
    return re.sub(r"\b0\.", ".", spread)


def short(names: Sequence[str], least: int = 5) -> list[str]:
    """The shortest beginnings, of at least five letters, that still tell the names apart.

    >>> short(["edema", "pneumonia", "pneumothorax"])
    ['edema', 'pneumon.', 'pneumot.']
    """
    beginnings = []
    for name in names:
        size = least
        while size < len(name) and any(other != name and other.startswith(name[:size]) for other in names):
            size += 1
        beginnings.append(name if len(name) <= size + 1 else f"{name[:size].strip()}.")
    return beginnings
