"""The results in a terminal: tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from apo_lightning.reports import render
from apo_lightning.reports import table as results

ABREAST = 7
"""Findings of one table; more would not fit 80 columns."""


def tables(frame: pd.DataFrame, name: str) -> list[Table]:
    """The summary, accuracy a finding, and the arms beside their reference; ``frame`` is the tidy results table."""
    shown = results.columns(frame)
    nats = [i for i, column in enumerate(shown) if column.metric.startswith("logp")]
    finding = [i for i, column in enumerate(shown) if column.finding != "mean"]
    summary = [i for i in range(len(shown)) if i not in finding + nats]
    made = [_rows_table(frame, f"{name}: summary", summary, [shown[i].title for i in summary])] if summary else []
    for start in range(0, len(finding), ABREAST):
        part = finding[start : start + ABREAST]
        heads = short([shown[i].title for i in part])
        made.append(_rows_table(frame, f"{name}: accuracy a finding", part, heads))
    against, lines = render.differences(frame)
    if lines or nats:
        made.append(_arms_table(frame, against, nats))
    return made


def _rows_table(frame: pd.DataFrame, title: str, which: Sequence[int], heads: Sequence[str]) -> Table:
    table = _bare(title, heads)
    columns = results.columns(frame)
    for _, rows in render.sections(frame):
        for row in rows:
            table.add_row(escape(row.label), *(_cell(row.cells[i], columns[i]) for i in which))
        table.add_section()
    return table


def _arms_table(frame: pd.DataFrame, against: str, nats: Sequence[int]) -> Table:
    """Arms alone: mean accuracy minus the reference arm, and log-probabilities before and after."""
    titles = [results.columns(frame)[i].title for i in nats]
    title = f"mean accuracy minus {against}, paired by seed{'; log p in nats' if nats else ''}"
    table = _bare(title, ["difference", *titles])
    apart = results.differences(frame, against=results.reference_arm(frame) or "")
    for row in results.rows(frame):
        if row.kind == "arm":
            known = row.arm in apart.index and apart.at[row.arm, "n"] > 0
            cell = render.signed(apart.at[row.arm, "mean"], apart.at[row.arm, "half"]) if known else results.Cell("–")
            table.add_row(escape(row.label), f"{cell.text} {cell.spread}".strip(), *(row.cells[i].value for i in nats))
    return table


def _bare(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", max_width=30)
    for head in heads:
        table.add_column(escape(head), justify="right")
    return table


def _cell(cell: results.Cell, column: results.Column) -> str:
    """Only the mean accuracy keeps its interval: a terminal is narrow, and the written report has them all."""
    text = f"[bold green]{cell.value}[/]" if cell.bold else cell.value
    return f"{text} [dim]{cell.spread}[/]" if cell.spread and column.key == "accuracy/mean" else text


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
