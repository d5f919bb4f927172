"""Figures that compare arms: differences from the reference, what is known beside what is said, curves over an axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from apo_lightning.reports.columns import SUMMARY, measure
from apo_lightning.reports.curves import Point
from apo_lightning.reports.figures import CHOSEN, PALETTE, REJECTED, STYLE, figure_of, wrapped
from apo_lightning.reports.measured import Results
from apo_lightning.reports.significance import SMALL, comparisons
from apo_lightning.reports.table import arm_labels, differences, reference_arm, wide

FOREST = ("balanced_accuracy", "in_place_auroc")
"""Panels beside the measure's."""
SAYS = {
    "balanced_accuracy": ("text: what it says", "o", REJECTED),
    "vote_balanced_accuracy": ("vote of sampled answers", "D", "#009E73"),
    "likelihood_auroc": ("AUROC by likelihood, before it writes", "^", "#56B4E9"),
    "in_place_balanced_accuracy": ("likelihood in place", "s", CHOSEN),
    "in_place_auroc": ("AUROC by likelihood in place", "v", "#0072B2"),
}
HOW = {"likelihood": " by likelihood", "in_place": " by likelihood in place", "vote": " by vote"}


def title_of(metric: str) -> str:
    """How a summary column is called in a figure."""
    column = next((column for column in SUMMARY if column.metric == metric), None)
    how = next((said for word, said in HOW.items() if metric.startswith(f"{word}_")), "")
    return f"{column.title if column else metric}{how}"


def forest_panels(results: Results) -> dict[str, pd.DataFrame]:
    """Metric to the differences from the reference arm that have an interval."""
    against = reference_arm(results.values)
    metrics = dict.fromkeys((measure(results.values), *FOREST))
    found = {name: differences(results, against, name) for name in metrics if against and not results.runs}
    return {name: own for name, own in found.items() if own["low"].notna().any()}


def forest(results: Results) -> Figure:
    """A panel per metric, one line per arm: its difference from the reference arm with the 95 % interval.

    Grey: the interval holds 0, or a test does not tell the two apart. A hollow mark: too small to compare.
    """
    panels, tests = forest_panels(results), comparisons(results)
    against = reference_arm(results.values)
    labels = arm_labels(results.values)
    arms = [arm for arm in labels if arm != against]
    with matplotlib.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure = figure_of(11, 0.32 * len(arms) + 1.3)
        drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (metric, table) in zip(drawn, panels.items(), strict=True):
            for place, arm in enumerate(arms):
                if arm in table.index and not math.isnan(table.at[arm, "mean"]):
                    small = tests.too_small(arm, against, metric, "mean")
                    column = next(column for column in SUMMARY if column.metric == metric)
                    sure = tests.apart(arm, str(against), column) and not small
                    _difference(axes, -place, table.loc[arm], tests.mark(arm, against, column), small=small, sure=sure)
            axes.axvline(0, color="#333333", linewidth=1)
            axes.set_title(title_of(metric), loc="left")
        drawn[0].set_yticks([-i for i in range(len(arms))], [wrapped(labels[arm], 44) for arm in arms])
        drawn[0].set_ylim(-len(arms) + 0.4, 0.6)
        figure.supxlabel(f"minus {labels[str(against)]}, paired by study and seed", fontsize=9)
    return figure


def _difference(axes: Axes, y: float, row: pd.Series, stars: str, *, small: bool, sure: bool) -> None:
    mean, low, high = (float(row[name]) for name in ("mean", "low", "high"))
    apart = sure and (low > 0 or high < 0)
    colour = (CHOSEN if mean > 0 else REJECTED) if apart else "#8A8A8A"
    if not math.isnan(low):
        axes.plot([low, high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot([mean], [y], marker="o", markersize=6, color=colour, markerfacecolor="white" if small else colour)
    text = f"{mean:+z.3f}{stars}{f' ({SMALL})' if small else ''}"
    axes.annotate(text, (mean, y), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7.5)


def knows_metrics(results: Results) -> list[str]:
    """What is drawn of saying and knowing; empty where only one of them was measured."""
    known = results.values[results.values["finding"] == "mean"]
    metrics = [name for name in SAYS if known.loc[known["metric"] == name, "value"].notna().any()]
    return metrics if len(metrics) > 1 else []


def knows(results: Results) -> Figure:
    """A line an arm: a mark for each way of asking it, joined; whiskers are 95 % intervals."""
    metrics, labels = knows_metrics(results), arm_labels(results.values)
    table = wide(results).loc["arm"]
    with matplotlib.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure = figure_of(9.5, 0.42 * len(labels) + 1.3)
        axes = figure.subplots()
        for place, arm in enumerate(labels):
            _known(axes, -place, table.loc[arm], metrics)
        axes.axvline(0.5, color="#333333", linewidth=1, linestyle=(0, (3, 2)))
        axes.set_yticks([-i for i in range(len(labels))], [wrapped(label, 44) for label in labels.values()])
        axes.set_xlabel("balanced accuracy or AUROC, mean over findings; .5 is chance")
        handles = [Line2D([], [], marker=SAYS[m][1], color=SAYS[m][2], linestyle="", label=SAYS[m][0]) for m in metrics]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _known(axes: Axes, y: float, row: pd.Series, metrics: Sequence[str]) -> None:
    values = {name: float(row.get(f"{name}/mean", math.nan)) for name in metrics}
    seen = [value for value in values.values() if not math.isnan(value)]
    if seen:
        axes.plot([min(seen), max(seen)], [y, y], color="#C9C9C9", linewidth=1.2, zorder=1)
    for place, (name, value) in enumerate(values.items()):
        _, marker, colour = SAYS[name]
        at = y + 0.1 * (place - (len(values) - 1) / 2)
        ends = [row.get(f"{name}/mean {end}", math.nan) for end in ("low", "high")]
        axes.plot(ends, [at, at], color=colour, linewidth=1, alpha=0.6)
        axes.plot([value], [at], marker=marker, markersize=6, color=colour, markeredgecolor="white")


def curve(results: Results, points: Sequence[Point], metrics: Sequence[str]) -> Figure:
    """A panel per metric over the axis that the points are of, one line per ``line``; whiskers are 95 % intervals."""
    table = wide(results).loc["arm"]
    lines = list(dict.fromkeys(point.line for point in points))
    with matplotlib.rc_context(STYLE):
        figure = figure_of(min(11, 3.7 * len(metrics) + 1.2), 3.6)
        for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
            for number, line in enumerate(lines):
                own = sorted((p for p in points if p.line == line), key=lambda point: point.x)
                _line(axes, table, own, f"{metric}/mean", number)
            _axis(axes, sorted({point.x for point in points}))
            axes.set_title(title_of(metric), loc="left")
            axes.set_xlabel(wrapped(points[0].axis, 40))
        handles = [Line2D([], [], color=_colour(i), marker="osD^v"[i % 5], label=line) for i, line in enumerate(lines)]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _colour(number: int) -> str:
    usable = [PALETTE[i] for i in (2, 7, 6, 4, 5, 1, 0)]
    return usable[number % len(usable)]


def _line(axes: Axes, table: Mapping | pd.DataFrame, points: Sequence[Point], key: str, number: int) -> None:
    rows = [
        (p.x, *(float(table.at[p.arm, name]) for name in (key, f"{key} low", f"{key} high")))
        for p in points
        if key in table and p.arm in table.index
    ]
    rows = [row for row in rows if not math.isnan(row[1])]
    axes.plot(
        [r[0] for r in rows], [r[1] for r in rows], color=_colour(number), marker="osD^v"[number % 5], linewidth=1.6
    )
    for x, _, low, high in rows:
        axes.plot([x, x], [low, high], color=_colour(number), linewidth=1, alpha=0.7)


def _axis(axes: Axes, values: Sequence[float]) -> None:
    """Where the values spread over more than a decade, each step of it is as wide as the others."""
    if values[0] > 0 and values[-1] / values[0] > 10:
        axes.set_xscale("log")
        axes.minorticks_off()
    if len(values) <= 8:
        axes.set_xticks(values, [f"{value:g}" for value in values])
