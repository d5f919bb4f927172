"""The figures of a report: data frames in, matplotlib Figures out. No pyplot, so nothing is kept alive between calls.

Colours: Okabe and Ito's palette, which stays apart under the common colour-vision deficiencies. An arm has the same
colour in every figure; from the ninth arm on the colours repeat with hatching.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from apo_lightning.reports.columns import findings, measure
from apo_lightning.reports.measured import Results
from apo_lightning.reports.table import arm_labels, wide

PALETTE = ("#7F7F7F", "#56B4E9", "#0072B2", "#F0E442", "#E69F00", "#CC79A7", "#009E73", "#D55E00")
HATCHES = ("", "///", "...", "xxx")
CHOSEN, REJECTED = "#0072B2", "#D55E00"
DPI = 150
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "axes.edgecolor": "#666666",
    "hatch.linewidth": 0.5,
    "text.parse_math": False,
}


def arm_styles(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Colour and hatch of every arm."""
    size = len(PALETTE)
    return {arm: (PALETTE[i % size], HATCHES[i // size % len(HATCHES)]) for i, arm in enumerate(arm_labels(frame))}


def png(figure: Figure) -> bytes:
    """The figure as a PNG file at 150 dpi."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def figure_of(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _ink(colour: str) -> str:
    """Black or white, whichever reads better on the colour."""
    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


LEGEND = 34
"""Characters of a line of a legend."""


def wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text.replace("_", " "), width, break_long_words=False)) or text


def accuracy_bars(results: Results) -> Figure:
    """Accuracy of every arm, a group of bars per finding and one for the mean; whiskers are 95 % intervals.

    Black ticks: the majority vote; dashed: the teacher of the best mean accuracy.
    """
    frame = results.values
    table, styles, metric = wide(results), arm_styles(frame), measure(frame)
    groups = [*findings(frame), "mean"]
    across = max(1, min(len(groups), 36 // (len(styles) + 1)))
    lines = math.ceil(len(groups) / across)
    with matplotlib.rc_context(STYLE):
        figure = figure_of(11, 2.4 * lines + 0.9)
        panels = figure.subplots(lines, 1, sharey=True, squeeze=False)[:, 0]
        for number, axes in enumerate(panels):
            _bar_row(axes, table, styles, groups[number * across : (number + 1) * across], across, metric)
        labels = {arm: wrapped(label, LEGEND) for arm, label in arm_labels(frame).items()}
        handles = [Patch(facecolor=c, hatch=h, label=labels[arm]) for arm, (c, h) in styles.items()]
        figure.legend(handles=handles + _tick_handles(table, metric), loc="outside upper center", ncols=4)
    return figure


def _bar_row(axes: Axes, table: pd.DataFrame, styles: Mapping, groups: Sequence[str], across: int, metric: str) -> None:
    slots = len(styles) + 1
    for place, finding in enumerate(groups):
        key = f"{metric}/{finding}"
        for offset, (arm, (colour, hatch)) in enumerate(styles.items()):
            value = _value(table, ("arm", arm), key)
            if not math.isnan(value):
                ends = [_value(table, ("arm", arm), f"{key} {end}") for end in ("low", "high")]
                _bar(axes, place * slots + offset, (value, *ends), colour, hatch, small=slots * across > 40)
        for row, look in _tick_rows(table, metric):
            value = _value(table, row, key)
            axes.hlines(
                value, place * slots - 0.5, place * slots + slots - 1.5, color="black", linewidth=1.3, linestyle=look
            )
    axes.set_xlim(-1, across * slots - 1)
    axes.set_ylim(0, 1)
    centres = [place * slots + (slots - 2) / 2 for place in range(len(groups))]
    axes.set_xticks(centres, [finding.replace("_", " ") for finding in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("accuracy")


def _bar(axes: Axes, x: float, value: tuple[float, float, float], colour: str, hatch: str, *, small: bool) -> None:
    mean, low, high = value
    error = None if math.isnan(low) else [[max(mean - low, 0)], [max(high - mean, 0)]]
    axes.bar(
        x,
        mean,
        0.9,
        color=colour,
        hatch=hatch,
        edgecolor="white",
        linewidth=0.3,
        yerr=error,
        ecolor="#333333",
        error_kw={"elinewidth": 0.9},
    )
    if not small:
        text = f"{mean:.2f}".removeprefix("0")
        box = {"facecolor": colour, "edgecolor": "none", "pad": 0.6}
        axes.text(x, 0.03, text, ha="center", va="bottom", fontsize=7.5, color=_ink(colour), bbox=box)


def _value(table: pd.DataFrame, row: tuple[str, str], key: str) -> float:
    return float(table.at[row, key]) if row in table.index and key in table else math.nan


def _tick_rows(table: pd.DataFrame, metric: str) -> list[tuple[tuple[str, str], str]]:
    """Rows drawn as ticks over the bars, each with its line style: the majority vote, and the best teacher."""
    drawn = [(("baseline", "majority_vote"), "-")] if ("baseline", "majority_vote") in table.index else []
    best = _best_teacher(table, metric)
    return [*drawn, (("teacher", best), (0, (3, 2)))] if best else drawn


def _best_teacher(table: pd.DataFrame, metric: str) -> str | None:
    if "teacher" not in table.index.get_level_values("kind") or f"{metric}/mean" not in table:
        return None
    mean = table.loc["teacher", f"{metric}/mean"].dropna()
    return str(mean.idxmax()) if len(mean) else None


def _tick_handles(table: pd.DataFrame, metric: str) -> list[Line2D]:
    names = [(row, look, str(table.at[row, "label"])) for row, look in _tick_rows(table, metric)]
    return [
        Line2D(
            [],
            [],
            color="black",
            linewidth=1.3,
            linestyle=look,
            label=f"Best teacher ({name})" if row[0] == "teacher" else name,
        )
        for row, look, name in names
    ]
