"""A comparison of runs in a terminal, 80 columns wide."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from apo_lightning.console import Console
from apo_lightning.reports import compare, compared_tables
from apo_lightning.reports.changed_answers import Changed, by_finding
from apo_lightning.reports.columns import measure, title
from apo_lightning.reports.compared import Comparison
from apo_lightning.reports.groups import groups
from apo_lightning.reports.render import narrow
from apo_lightning.reports.table import bracket, wide

KEYS, MEASURES = 30, 3
"""Settings and measures that are printed; settings.csv, metrics.csv and the page have all of them."""


def show(found: Comparison, console: Console, top: int) -> None:
    """Print what differs, and the ``top`` most changed answers."""
    _settings(found, console)
    console.print(_arms(found))
    if found.pairs:
        console.print(_paired(found))
    for note in (*compare.warnings(found.runs), *found.notes):
        console.print(note, style="yellow", markup=False)
    console.print(f"{len(found.changed):,} changed answers{', the most changed first' if found.shown else ''}")
    if found.withheld:
        console.print(found.withheld, style="yellow", markup=False)
    for one in found.shown[:top]:
        _answer(one, console)


def _settings(found: Comparison, console: Console) -> None:
    if not found.settings:
        console.print("Settings: nothing differs.")
        return
    others = found.runs[1].name if len(found.runs) == 2 else "the run named"
    table = _table("settings that differ", ("key", "arms", found.runs[0].name, others))
    for one in found.settings[:KEYS]:
        arms = ", ".join(one.arms) or "all"
        where = f"{one.run}: {arms}" if len(found.runs) > 2 else arms
        table.add_row(*(escape(cell) for cell in (one.key, where, one.before, one.after)))
    console.print(table)
    if len(found.settings) > KEYS:
        console.print(f"... and {len(found.settings) - KEYS:,} more in settings.csv")


def _arms(found: Comparison) -> Table:
    """A row for each arm of each run: the first measures of its texts, with intervals."""
    results = compare.together(found.runs)
    shown = groups(results)[0].columns[:MEASURES]
    table = _table("arms of each run, [95 % interval]", ("", *(column.title for column in shown)))
    for (kind, arm), values in wide(results).iterrows():
        if kind == "arm":
            numbers = ([values.get(f"{column.key}{end}") for end in ("", " low", " high")] for column in shown)
            run = results.runs[arm]
            name = f"{run}: {arm.removeprefix(f'{run}/')}"  # breaks at the blank
            table.add_row(escape(name), *(escape(_number(*own)) for own in numbers))
    return table


def _number(value: float, low: float, high: float) -> str:
    return "–" if pd.isna(value) else narrow(f"{value:.3f} {bracket(low, high, 3)}".strip())


def _paired(found: Comparison) -> Table:
    frame = compare.together(found.runs).values
    name = measure(frame)
    table = _table(f"{title(frame)}, paired by study and seed", ("", "difference", "p (Holm)", "fixed", "broken"))
    means = {one.pair: one for one in found.differences if (one.metric, one.finding) == (name, "mean")}
    for pair in found.pairs:
        better, worse = compared_tables.total(by_finding(pair, found.changed))
        one = means.get(pair)
        cell = compared_tables.cell(one) if one else None
        told = f"{cell.value} {narrow(cell.spread)}".strip() if cell else "–"
        p = f"{one.p_holm:.3f}" if one and one.p_holm == one.p_holm else "–"
        table.add_row(escape(pair.name), escape(told), p, f"{better:,}", f"{worse:,}")
    return table


def _answer(one: Changed, console: Console) -> None:
    ways = (("fixed", one.fixed), ("broken", one.broken), ("read otherwise", one.other))
    told = "; ".join(f"{word}: {', '.join(names).replace('_', ' ')}" for word, names in ways if names)
    console.print(f"\n{one.study} (seed {one.seed})  {told}", style="bold", markup=False)
    for side, text in ((one.pair.before, one.before), (one.pair.after, one.after)):
        console.print(f"  {side.name}: {text or '(empty)'}", markup=False)


def _table(said: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=escape(said), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(escape(head), overflow="fold", justify="right" if number and not heads[0] else "left")
    return table
