"""Reports: from a run folder to a table in the terminal, report.md, report.html, table.tex and figures.

Only files are read; no other room is asked. Writing again over the same run folder replaces the report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from apo_lightning.console import Console
from apo_lightning.reports import checked, explorer, figures, render, samples, terminal
from apo_lightning.reports.folder import gone, own, read_manifest, read_metrics, write_atomic
from apo_lightning.reports.measured import Results, load
from apo_lightning.reports.table import arm_labels, findings

log = logging.getLogger(__name__)

FIGURES = {
    "accuracy.png": (
        "Accuracy a finding",
        "Bars: arms, with the 95 % interval over patients and seeds. Black line: the majority vote of the "
        "teachers. Dashed: the teacher with the best mean accuracy on this split.",
    ),
    "radar.png": (
        "Profile of every arm",
        "Accuracy on every finding, from 0 in the centre to 1, rings every .25. Black outline: the majority vote.",
    ),
    "rewards.png": (
        "Reward curves",
        "Left: reward, beta times the log-ratio to the reference. Right: log-probability under the student. Bold: mean "
        "over seeds; pale: single seeds; thin orange on the right: single teachers. All arms share their scales.",
    ),
    "spd_loss.png": ("SPD loss", "Loss of the first stage. Arms that share the stored stage share a line."),
}
"""File name to title and caption, in the order of the report."""


def write(run_folder: Path) -> Path:
    """Write report.md, report.html, table.tex and figures/*.png into a run folder, each atomically.

    Everything is made before the first file is written, so an error leaves the previous report as it was.

    Returns:
        The path of report.html.

    Raises:
        ArtifactError: results.csv is missing or a file of the run folder is corrupt.
    """
    run_folder = Path(run_folder)
    own(run_folder / "figures", run_folder)
    report = _gather(run_folder)
    files = {
        "report.md": render.markdown(report),
        "table.tex": render.latex(report),
        "report.html": render.html(report),
    }
    drawn = {figure.name: figure.data for figure in report.figures}
    for name in FIGURES:
        if name in drawn:
            write_atomic(run_folder / "figures" / name, drawn[name])
        else:
            (run_folder / "figures" / name).unlink(missing_ok=True)
    for name, content in files.items():
        write_atomic(run_folder / name, content)
    return run_folder / "report.html"


def print_table(run_folder: Path, console: Console | None = None) -> None:
    """Print the tables of a run folder. Raises ArtifactError when results.csv is missing or corrupt."""
    run_folder = Path(run_folder)
    console = console or Console(highlight=False)
    found = load(run_folder)
    for table in terminal.tables(found, run_folder.name):
        console.print(table)
    for sentence in (*render.left_out(found.values), terminal.READING, *_without_intervals(found, run_folder)):
        console.print(sentence, style="dim", markup=False)
    for warning in render.cut_off(found.values, read_manifest(run_folder).get("warn_cut")):
        console.print(warning, style="yellow", markup=False)


def _gather(run_folder: Path) -> render.Report:
    found, manifest = load(run_folder), read_manifest(run_folder)
    labels = arm_labels(found.values)
    examples, note = samples.collect(run_folder, manifest, labels)
    studies = explorer.section(run_folder, manifest, labels)
    unchecked = checked.notes(run_folder, manifest)
    for sentence in unchecked:
        log.warning("%s", sentence)
    return render.Report(
        name=str(manifest.get("experiment") or run_folder.name),
        facts=render.facts(manifest),
        notes=[
            *unchecked,
            *_unfinished(found.values, manifest),
            *render.cut_off(found.values, manifest.get("warn_cut")),
            *_without_intervals(found, run_folder),
            *_gone(run_folder),
        ],
        results=found,
        figures=_draw(run_folder, found, labels),
        samples=examples,
        samples_note=note,
        explorer=studies,
        csp=explorer.policy(studies),
    )


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
    """A sentence for rows that an earlier version measured, which kept no answer a study beside its labels."""
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


def _draw(run_folder: Path, found: Results, labels: dict[str, str]) -> list[render.FigureFile]:
    frame = found.values
    apo, spd = (read_metrics(run_folder, stage, labels) for stage in ("apo", "spd"))
    styles = figures.arm_styles(frame)
    drawings: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "accuracy.png": (bool(labels) and bool(findings(frame)), lambda: figures.accuracy_bars(found)),
        "radar.png": (bool(labels) and len(findings(frame)) >= 3, lambda: figures.radar(found)),
        "rewards.png": (bool(figures.preference_arms(apo)), lambda: figures.reward_curves(apo)),
        "spd_loss.png": (
            "train/loss" in spd and spd["train/loss"].notna().any(),
            lambda: figures.spd_curve(spd, styles),
        ),
    }
    made = []
    for name, (possible, draw) in drawings.items():
        if possible:
            title, caption = FIGURES[name]
            alt = (
                f"{title}: the numbers are in the table."
                if name in ("accuracy.png", "radar.png")
                else f"{title} over training steps."
            )
            made.append(render.FigureFile(name, title, caption, alt, figures.png(draw())))
    return made
