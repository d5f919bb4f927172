"""Whether probabilities can be believed, and how teachers drift."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from apo_lightning.reports.figures import CHOSEN, PALETTE, STYLE, figure_of, wrapped
from apo_lightning.reports.folder import is_there, read_jsonl, require_stage, stage_folders
from apo_lightning.reports.teacher_drift import PARTS, REPORT, STREAM

BINS = 10


def reliability(run_folder: Path, labels: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """Arm to its bins of the probability of present: mean probability ``p``, share present, and how many ``n``.

    All findings, labelled studies and seeds of an arm go into one curve.

    Raises:
        ArtifactError: a stage is damaged.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for folder in stage_folders(run_folder, "evaluate"):
        path = folder.path / "statements.jsonl"
        if folder.arm in labels and is_there(path, run_folder) and require_stage(folder, run_folder):
            for row in read_jsonl(path, run_folder):
                pairs.setdefault(folder.arm, []).extend(_pairs(row))
    return {arm: _bins(pairs[arm]) for arm in labels if pairs.get(arm)}


def _pairs(row: Mapping) -> list[tuple[float, float]]:
    """(probability, label) of every labelled finding."""
    said, truth = row.get("p"), row.get("truth")
    if not isinstance(said, Mapping) or not isinstance(truth, Mapping):
        return []
    known = ((said.get(name), value) for name, value in truth.items())
    return [(float(p), float(value)) for p, value in known if isinstance(p, int | float) and value in (0, 1)]


def _bins(pairs: list[tuple[float, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(pairs, columns=["p", "share"])
    place = np.minimum((frame["p"] * BINS).astype(int), BINS - 1)
    return frame.groupby(place).agg(p=("p", "mean"), share=("share", "mean"), n=("p", "size"))


def calibration(curves: Mapping[str, pd.DataFrame], labels: Mapping[str, str]) -> Figure:
    """A panel an arm: share present over the probability said; the area of a mark is how many statements it holds."""
    across = min(4, len(curves))
    lines = math.ceil(len(curves) / across)
    with matplotlib.rc_context(STYLE | {"axes.grid.axis": "both"}):
        figure = figure_of(2.75 * across + 0.4, 2.7 * lines + 0.3)
        panels = figure.subplots(lines, across, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, (arm, table) in zip(panels, curves.items(), strict=False):
            axes.plot([0, 1], [0, 1], color="#333333", linewidth=0.8, linestyle=(0, (3, 2)))
            axes.plot(table["p"], table["share"], color=CHOSEN, linewidth=1.2)
            axes.scatter(
                table["p"], table["share"], s=10 + 250 * table["n"] / table["n"].sum(), color=CHOSEN, alpha=0.8
            )
            axes.set_title(wrapped(labels[arm], 30), fontsize=9)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        figure.supxlabel("probability that the student gives to present", fontsize=9)
        figure.supylabel("share that is present", fontsize=9)
    return figure


def drift(found: pd.DataFrame) -> Figure:
    """Left: over the stream; right: over the report. A line per teacher, with a mark of its own."""
    names = {STREAM: "along the stream, from first to last study", REPORT: "along the report, first to last sentence"}
    shown = [along for along in names if found.loc[found["along"] == along, "part"].nunique() > 1]
    teachers = list(dict.fromkeys(found["teacher"]))
    with matplotlib.rc_context(STYLE):
        figure = figure_of(10 if len(shown) > 1 else 6, 3.8)
        for axes, along in zip(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], shown, strict=True):
            for number, teacher in enumerate(teachers):
                own = found[(found["teacher"] == teacher) & (found["along"] == along)].sort_values("part")
                axes.plot(
                    own["part"], own["right"], color=teacher_colour(number), marker=teacher_mark(number), linewidth=1.5
                )
            axes.set_xticks(range(PARTS[along]), _parts(PARTS[along]))
            axes.set_xlabel(names[along])
        figure.supylabel("share that is right", fontsize=9)
        handles = [
            Line2D([], [], color=teacher_colour(i), marker=teacher_mark(i), label=name)
            for i, name in enumerate(teachers)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=5)
    return figure


def _parts(count: int) -> list[str]:
    return ["start", *(str(i + 1) for i in range(1, count - 1)), "end"]


def teacher_colour(number: int) -> str:
    dark = [colour for colour in PALETTE if colour != "#F0E442"]
    return dark[number % len(dark)]


def teacher_mark(number: int) -> str:
    return "osD^vP*Xh<>"[number % 11]
