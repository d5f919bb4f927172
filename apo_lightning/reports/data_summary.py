"""A data set's summary in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from apo_lightning.console import Console, print_hanging
from data_modules.summary import Summary

SHOWN = 5
"""Examples that are printed of each kind of trouble; all of them are in the JSON."""


def show(summary: Summary, console: Console) -> None:
    """Print sizes, prevalence, and what is wrong."""
    guarded = " [yellow](credentialed: nothing of it leaves this machine unless you say so)[/yellow]"
    console.print(f"[bold]{escape(summary.name)}[/bold]{guarded if summary.credentialed else ''}")
    for note in summary.notes:
        print_hanging(console, "  ", note, "dim")
    console.print(_sizes(summary))
    console.print(_prevalence(summary))
    for title, lines in troubles(summary):
        count = len(lines)
        console.print(f"[{'yellow' if count else 'green'}]{count:,} {escape(title)}[/]")
        for line in lines[:SHOWN]:
            print_hanging(console, "    ", line)
        if count > SHOWN:
            console.print(f"    ... and {count - SHOWN:,} more")


def troubles(summary: Summary) -> list[tuple[str, list[str]]]:
    """Kinds of trouble with a line for each case; kinds without a case too, since their absence is news."""
    across = f", {summary.duplicates_across} across splits" if summary.duplicates_across else ""
    removed = [f"{summary.removed} training studies of tested patients"] if summary.removed else []
    return [
        ("splits with missing images", [f"{split}: {n:,} images" for split, n in summary.missing.items()]),
        ("reasons to leave studies out", [f"{why}: {n:,} studies" for why, n in summary.left_out.items()]),
        ("unusable rows and images", [_line(row) for row in summary.unusable]),
        (
            "pairs of splits that share patients",
            [
                f"{pair}: {len(names)} patients, first {', '.join(names[:3])}"
                for pair, names in summary.patients_in_two_splits.items()
            ],
        ),
        (f"groups of equal images{across}", [" = ".join(s for s, _ in group) for group in summary.duplicates]),
        ("label conflicts", [_line(row) for row in summary.label_conflicts]),
        ("overlaps with the evaluation set", removed),
    ]


def _line(row: Sequence[str]) -> str:
    where, why = row
    return why if where in why else f"{where}: {why}"


def _sizes(summary: Summary) -> Table:
    kinds = [k for k in next(iter(summary.counts.values())) if any(c[k] for c in summary.counts.values())]
    table = _table("sizes", kinds)
    for split, counts in summary.counts.items():
        table.add_row(escape(split), *(f"{counts[kind]:,}" for kind in kinds))
    return table


def _prevalence(summary: Summary) -> Table:
    """Present / known of each finding, and how many do not say."""
    splits = [split for split, counts in summary.counts.items() if counts["studies"]]
    table = _table("present among known (unknown)", splits)
    for name, by_split in summary.prevalence.items():
        table.add_row(escape(name.replace("_", " ")), *(_share(*by_split[split]) for split in splits))
    return table


def _share(present: int, absent: int, unknown: int) -> str:
    known = present + absent
    share = f"{present:,} = {present / known:.1%}" if known else "no label"
    return f"{share} ({unknown:,})" if unknown else share


def _table(title: str, heads: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for head in heads:
        table.add_column(escape(head), justify="right")
    return table
