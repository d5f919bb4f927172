"""Reports: from a run folder, or several, to tables in the terminal, one HTML page, Markdown, LaTeX, CSV and figures.

Only files are read; no other room is asked but for how a text is read. Writing again over the same run folder replaces
the report.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from apo_lightning.console import Console, print_whole
from apo_lightning.reports import (
    checked,
    compare,
    constant,
    cost,
    drawing,
    drift,
    explorer,
    facts,
    failures,
    latex,
    long_texts,
    markdown,
    published,
    render,
    samples,
    sentences,
    spreadsheet,
    terminal,
    told,
    zero_shot,
)
from apo_lightning.reports.folder import gone, own, read_manifest, read_settings, write_atomic
from apo_lightning.reports.measured import Results, load
from apo_lightning.reports.page import FigureFile, Report, Told
from apo_lightning.reports.table import arm_labels

log = logging.getLogger(__name__)


def write(run_folder: Path) -> Path:
    """Write report.html, report.md, report.csv, report.tex, table.tex and figures/*.png into a run folder, each
    atomically.

    Everything is made before the first file is written, so an error leaves the previous report as it was.

    Returns:
        The path of report.html.

    Raises:
        ArtifactError: results.csv is missing or a file of the run folder is corrupt.
    """
    run_folder = Path(run_folder)
    own(run_folder / "figures", run_folder)
    return _write(_gather(run_folder), run_folder)


def write_several(run_folders: Sequence[Path]) -> Path:
    """One page over several runs, beside the first of them.

    Returns:
        The path of its report.html.

    Raises:
        ArtifactError: a run has no results, a file is corrupt, or nothing of two runs can stand in one table.
    """
    runs = compare.read([Path(folder) for folder in run_folders])
    drawn = []
    for number, run in enumerate(runs, 1):
        for figure in drawing.draw(run.folder, run.results, run.settings):
            name = f"run{number}_{figure.name}"
            drawn.append(replace(figure, name=name, title=f"{figure.title}: {run.name}"))
    order = list(drawing.FIGURES)
    drawn.sort(key=lambda figure: [*order, figure.name.split("_", 1)[1]].index(figure.name.split("_", 1)[1]))
    return _write(several(runs, drawn), compare.place(runs))


def several(runs: Sequence[compare.Run], figures: Sequence[FigureFile] = ()) -> Report:
    """What a page over several runs shows."""
    return Report(
        name=" beside ".join(run.name for run in runs),
        told=[_told(run.folder, run.name, run.manifest, run.settings) for run in runs],
        notes=[*compare.warnings(runs), *_notes_of(runs)],
        results=compare.together(runs),
        figures=figures,
        failures=[each for run in runs for each in failures.read(run.folder, arm_labels(run.results.values))],
    )


def print_table(run_folder: Path, console: Console | None = None) -> None:
    """Print the tables of a run folder. Raises ArtifactError when results.csv is missing or corrupt."""
    run_folder = Path(run_folder)
    console = console or Console(highlight=False)
    found = load(run_folder)
    for table in terminal.tables(found, run_folder.name, console.width if console.is_terminal else terminal.WIDE):
        print_whole(table, console)
    for sentence in (
        *sentences.left_out(found.values),
        *terminal.reading(found),
        *_without_intervals(found, run_folder),
    ):
        console.print(sentence, style="dim", markup=False)
    manifest = read_manifest(run_folder)
    cut = [*long_texts.warnings(manifest), *sentences.cut_off(found.values, manifest.get("warn_cut"))]
    for warning in (*constant.warnings(found.values), *told.warnings(found.values), *cut):
        console.print(warning, style="yellow", markup=False)
    for kind in failures.grouped(failures.read(run_folder, arm_labels(found.values))):
        console.print(
            f"{kind.title}: {kind.failures[0].place}: {kind.failures[0].warning}", style="yellow", markup=False
        )
        console.print(f"  {kind.advice}", style="dim", markup=False)


def _write(report: Report, folder: Path) -> Path:
    files = {
        "report.md": markdown.markdown(report),
        "table.tex": latex.tables(report),
        "report.tex": latex.document(report),
        "report.html": render.html(report),
    }
    drawn = {figure.name: figure.data for figure in report.drawn}
    for name in sorted({*drawing.names(folder / "figures"), *drift.FIGURES, *drawn}):
        if name in drawn:
            write_atomic(folder / "figures" / name, drawn[name])
        else:
            (folder / "figures" / name).unlink(missing_ok=True)
    spreadsheet.write(folder / "report.csv", report.results, report.groups)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return folder / "report.html"


def _gather(run_folder: Path) -> Report:
    found, manifest, settings = load(run_folder), read_manifest(run_folder), read_settings(run_folder) or {}
    labels = arm_labels(found.values)
    examples, note = samples.collect(run_folder, manifest, labels)
    studies = explorer.section(run_folder, manifest, labels)
    notes = _notes(run_folder, found, manifest)
    name = str(manifest.get("experiment") or run_folder.name)
    return Report(
        name=name,
        told=[_told(run_folder, name, manifest, settings)],
        notes=notes,
        results=found,
        figures=drawing.draw(run_folder, found, settings),
        samples=examples,
        samples_note=note,
        failures=failures.read(run_folder, labels),
        published=published.beside(found, settings),
        zero_shot=zero_shot.read(run_folder, found),
        drift=drift.read(run_folder),
        explorer=studies,
        csp=explorer.policy(studies),
    )


def _told(run_folder: Path, name: str, manifest: dict[str, Any], settings: dict[str, Any]) -> Told:
    """What was set comes first, then what it cost, then how it was made."""
    said = facts.told(manifest, settings)
    made = len(said) - len(facts.FACTS)
    return Told(name, facts.banner(settings), [*said[:made], *cost.told(run_folder), *said[made:]])


def _notes(run_folder: Path, found: Results, manifest: dict[str, Any]) -> list[str]:
    unchecked = checked.notes(run_folder, manifest)
    for sentence in unchecked:
        log.warning("%s", sentence)
    return [
        *unchecked,
        *constant.warnings(found.values),
        *told.warnings(found.values),
        *_unfinished(found.values, manifest),
        *long_texts.warnings(manifest),
        *sentences.cut_off(found.values, manifest.get("warn_cut")),
        *_without_intervals(found, run_folder),
        *_gone(run_folder),
    ]


def _notes_of(runs: Sequence[compare.Run]) -> list[str]:
    own = [f"{run.name}: {note}" for run in runs for note in _notes(run.folder, run.results, run.manifest)]
    further = [run.name for run in runs if (run.folder / "sets").is_dir()]
    sets = f" So are the further sets of {', '.join(further)}." if further else ""
    return [*own, f"Studies, one by one, are in each run's own report.{sets}"]


def _unfinished(frame: pd.DataFrame, manifest: dict[str, Any]) -> list[str]:
    """A sentence for every arm that lacks seeds of the experiment."""
    arms = frame[frame["kind"] == "arm"]
    wanted = manifest.get("seeds") or sorted(arms["seed"].unique())
    notes = []
    for arm, label in arm_labels(frame).items():
        lacking = [str(seed) for seed in wanted if seed not in set(arms.loc[arms["arm"] == arm, "seed"])]
        if lacking:
            notes.append(f"Unfinished: {label} has no results for seed {', '.join(lacking)}.")
    return notes


def _without_intervals(found: Results, run_folder: Path) -> list[str]:
    """A sentence for rows that an earlier version measured, which kept no answer per study beside its labels."""
    known = {row[:2] for row in found.intervals.index}
    rows = found.values[["kind", "arm", "label"]].drop_duplicates(["kind", "arm"])
    names = [label for kind, arm, label in rows.itertuples(index=False) if (kind, arm) not in known]
    if not names:
        return []
    which = "all rows" if len(names) == len(rows) else ", ".join(names)
    return [
        f"Without intervals, since their answers were not kept study by study: {which}. Run the experiment "
        f"'{run_folder.name}' again: it measures from the answers in the store and trains nothing; where those are not "
        "enough, delete the arm's evaluate folder and only the evaluation is repeated."
    ]


def _gone(run_folder: Path) -> list[str]:
    """A sentence that names the stages whose texts and curves cannot be shown."""
    names = gone(run_folder)
    where = "not in the store any more, so without their texts and curves"
    return [f"{len(names)} stages are {where}: {'; '.join(names)}."] if names else []


__all__ = ["FigureFile", "Report", "Told", "print_table", "several", "write", "write_several"]
