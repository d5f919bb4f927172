"""Further evaluation sets of a run, from its folder ``sets/``: one checkpoint on data that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.reports.columns import MEASURES, SUMMARY, Column, measure
from apo_lightning.reports.folder import SETS, advice, is_there, read_json_list
from apo_lightning.reports.groups import Group, groups
from apo_lightning.reports.measured import Results, load
from apo_lightning.reports.table import Cell, arm_labels, rows

SHOWN = ("balanced_accuracy", "likelihood_auroc", "in_place_auroc")
"""What is shown of every set beside its measure."""


@dataclass(frozen=True)
class Set:
    """One further set: what it is, and its tables; ``left_out`` says why it has none."""

    name: str
    title: str
    studies: int | None
    patients: int | None
    findings: Sequence[str]
    left_out: str
    results: Results | None

    @property
    def size(self) -> str:
        parts = [
            f"{n:,} {what}" for n, what in ((self.studies, "studies"), (self.patients, "patients")) if n is not None
        ]
        return ", ".join(parts)

    @cached_property
    def tables(self) -> list[Group]:
        """Its own tables, for details."""
        return groups(self.results) if self.results else []


@dataclass(frozen=True)
class Heat:
    """One metric over sets: a row an arm, and a cell with where between chance and 1 it lies, for its shade."""

    title: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[Cell, float | None]]]]


@dataclass(frozen=True)
class ZeroShot:
    """All further sets of a run."""

    sets: Sequence[Set]
    home: Results

    @property
    def measured(self) -> list[Set]:
        return [own for own in self.sets if own.results]

    @property
    def left_out(self) -> list[tuple[str, str]]:
        return [(own.title, own.left_out or "it has no results.") for own in self.sets if not own.results]

    @cached_property
    def heats(self) -> list[Heat]:
        """The measure, and what else every set may have; metrics that no set has are left out."""
        tables = [("test split of the experiment", self.home), *((own.title, own.results) for own in self.measured)]
        return [heat for metric in (None, *SHOWN) if (heat := _heat(metric, tables))] if self.measured else []


def read(run_folder: Path, home: Results) -> ZeroShot | None:
    """None where the run has no further sets.

    Raises:
        ArtifactError: a file is corrupt, or names a set that no folder may have.
    """
    path = run_folder / SETS / "sets.json"
    if not is_there(path, run_folder):
        return None
    found = [_set(entry, path, run_folder) for entry in read_json_list(path, run_folder)]
    return ZeroShot(found, home) if found else None


def _set(entry: Mapping[str, Any], path: Path, run_folder: Path) -> Set:
    name = entry.get("name")
    if not isinstance(name, str) or not name or Path(name).name != name or name in (".", "..") or "\0" in name:
        raise ArtifactError(f"{path} has a set named {name!r}, which no folder can have. {advice(path, run_folder)}")
    folder, left_out = path.parent / name, str(entry.get("left_out") or "")
    results = None if left_out or not is_there(folder / "results.csv", run_folder) else load(run_folder, folder)
    findings = entry.get("findings")
    findings = [str(each) for each in findings] if isinstance(findings, list) else []
    return Set(
        name,
        str(entry.get("title") or name),
        _count(entry, "studies"),
        _count(entry, "patients"),
        findings,
        left_out,
        results,
    )


def _count(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return value if isinstance(value, int) else None


def _heat(metric: str | None, tables: Sequence[tuple[str, Results]]) -> Heat | None:
    labels = {arm: label for _, own in tables for arm, label in arm_labels(own.values).items()}
    columns = [(title, own, _column(metric, own)) for title, own in tables]
    found = [(title, _cells(own, column)) for title, own, column in columns if column]
    known = [(title, cells) for title, cells in found if cells]
    if not known or (metric and len(known) < 2 and known[0][0] == tables[0][0]):
        return None
    shown = [(label, [_shaded(cells.get(arm)) for _, cells in known]) for arm, label in labels.items()]
    measures = dict.fromkeys(column.title for _, _, column in columns if column)
    title = _title(metric) if metric else " or ".join(measures).capitalize()
    return Heat(title, [name for name, _ in known], shown)


def _title(metric: str) -> str:
    column = next(column for column in SUMMARY if column.metric == metric)
    how = {"likelihood": ", by likelihood", "in_place": ", by likelihood in place"}
    said = next((words for word, words in how.items() if metric.startswith(word)), "")
    return f"{column.title}{said}" if said else column.title.capitalize()


def _column(metric: str | None, results: Results) -> Column | None:
    wanted = metric or measure(results.values)
    return next((column for column in SUMMARY if column.metric == wanted), None) if wanted in _known(results) else None


def _known(results: Results) -> set[str]:
    return set(results.values["metric"]) & {*MEASURES, *SHOWN}


def _cells(results: Results, column: Column) -> dict[str, Cell]:
    found = {row.arm: row.cells[0] for row in rows(results, [column]) if row.kind == "arm"}
    return {arm: cell for arm, cell in found.items() if cell.text != "–"}


def _shaded(cell: Cell | None) -> tuple[Cell, float | None]:
    """0 at a value of .5 and less, 1 at 1: what is no better than a coin has no shade."""
    return (cell, min(max(2 * float(cell.text) - 1, 0), 1)) if cell else (Cell("–"), None)
