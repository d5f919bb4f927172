"""Reports: from a run folder to a table in the terminal, report.md, report.html, table.tex and figures.

Only files are read; no other room is asked. Writing again over the same run folder replaces the report.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from apo_lightning.reports import figures, render, samples, terminal
from apo_lightning.reports.folder import read_manifest, read_metrics, write_atomic
from apo_lightning.reports.table import arm_labels, findings, load

FIGURES = {
    "accuracy.png": (
        "Accuracy a finding",
        "Bars: arms, with the 95 % interval over seeds where there are several. Black line: the majority vote of the "
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
    console = console or Console()
    for table in terminal.tables(load(run_folder), run_folder.name):
        console.print(table)


def _gather(run_folder: Path) -> render.Report:
    frame, manifest = load(run_folder), read_manifest(run_folder)
    labels = arm_labels(frame)
    examples, note = samples.collect(run_folder, manifest, labels)
    return render.Report(
        name=str(manifest.get("experiment") or run_folder.name),
        facts=render.facts(manifest),
        notes=_unfinished(frame, manifest),
        frame=frame,
        figures=_draw(run_folder, frame, labels),
        samples=examples,
        samples_note=note,
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


def _draw(run_folder: Path, frame: pd.DataFrame, labels: dict[str, str]) -> list[render.FigureFile]:
    apo, spd = (read_metrics(run_folder, stage, labels) for stage in ("apo", "spd"))
    styles = figures.arm_styles(frame)
    drawings: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "accuracy.png": (bool(labels) and bool(findings(frame)), lambda: figures.accuracy_bars(frame)),
        "radar.png": (bool(labels) and len(findings(frame)) >= 3, lambda: figures.radar(frame)),
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
