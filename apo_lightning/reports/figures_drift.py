"""Figures of `drift.json`: who agrees with whom, what moves along the texts, how many studies are in conflict, and what
changes along the stream. Lines differ in mark and dash as well as in colour; cells of a heat map hold their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from apo_lightning.reports.figures import CHOSEN, REJECTED, STYLE, figure_of, wrapped
from apo_lightning.reports.figures_scores import teacher_colour, teacher_mark

FLOOR = "#7F7F7F"
LINES = ((CHOSEN, "-", "o"), (REJECTED, (0, (5, 2)), "s"), (FLOOR, (0, (2, 2)), "^"))
"""Colour, dash and mark of the first, second and third line of a panel."""
HEATS = {
    "cohen": "Cohen's kappa of every two teachers",
    "agreement": "Statements of every two teachers without a contradiction",
}
MAP = "cividis"
"""Even in lightness, and told apart under every common colour-vision deficiency."""


def agreement(record: Mapping[str, Any]) -> Figure:
    """Left: Cohen's kappa of every two teachers, mean over findings; where it is hardly ever defined, the share of
    statements that do not contradict each other. Right: Fleiss' kappa of all, by finding, with 95 % intervals."""
    teachers, fleiss = record["teachers"], record["agreement"]["fleiss"]
    rows = [name for name in ("mean", *record["findings"]) if _number(fleiss.get(name)) is not None]
    rows = rows if record["studies"] > 1 else []
    size = max(3.2, 0.62 * len(teachers) + 1.6)
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = figure_of(size + (4.2 if rows else 0), size * 0.92)
        panels = figure.subplots(1, 2 if rows else 1, squeeze=False, width_ratios=[size, 4] if rows else None)[0]
        _heat(panels[0], record)
        if rows:
            _kappas(panels[1], fleiss, rows)
    return figure


def _heat(axes: Axes, record: Mapping[str, Any]) -> None:
    teachers = record["teachers"]
    key = _heat_measure(record)
    values, texts = np.full((len(teachers),) * 2, np.nan), {}
    for pair in record["pairs"]:
        i, j = sorted((teachers.index(name) for name in pair["teachers"]), reverse=True)
        value = _number(pair[key].get("mean"))
        values[i, j] = math.nan if value is None else value
        texts[i, j] = "–" if value is None else f"{value:.2f}"
    shown = np.ma.masked_invalid(values)
    low = min(0.0, float(shown.min())) if shown.count() else 0.0
    axes.imshow(shown, cmap=MAP, vmin=low, vmax=1)
    for (i, j), text in texts.items():
        dark = not shown.mask[i, j] if shown.mask.shape else True
        ink = "white" if dark and (values[i, j] - low) / (1 - low) < 0.55 else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=ink)
    names = [wrapped(name, 14) for name in teachers]
    axes.set_xticks(range(len(teachers) - 1), names[:-1], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(1, len(teachers)), names[1:])
    axes.set_xlim(-0.5, max(len(teachers) - 1.5, 0.5))
    axes.set_ylim(len(teachers) - 0.5, 0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(HEATS[key])


def _heat_measure(record: Mapping[str, Any]) -> str:
    """Kappa, unless it is not defined for most pairs that state something in common, as on a single study."""
    kappas, shares = (
        sum(_number(pair[key].get("mean")) is not None for pair in record["pairs"]) for key in ("cohen", "agreement")
    )
    return "cohen" if 2 * kappas > shares and record["studies"] > 1 else "agreement"


def _kappas(axes: Axes, fleiss: Mapping[str, Any], rows: Sequence[str]) -> None:
    for place, name in enumerate(rows):
        one = fleiss[name]
        colour, _, mark = LINES[1 if name == "mean" else 0]
        if one["low"] is not None:
            axes.plot([one["low"], one["high"]], [place, place], color=colour, linewidth=1.6)
        axes.plot(one["value"], place, marker=mark, color=colour, markersize=6)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.7)
    axes.set_title("Fleiss' kappa of all, with 95 % interval")


def steps(record: Mapping[str, Any]) -> Figure:
    """What moves along the texts, from their beginnings to their ends; bands are 95 % intervals over patients."""
    found = record["steps"]
    panels = [_statements]
    panels += [_errors] if _any_errors(found) else []
    panels += [_divergence] if found["divergence"] else []
    panels += [_embedding] if found["embedding"] else []
    across = 1 if len(panels) == 1 else 2
    lines = math.ceil(len(panels) / across)
    with matplotlib.rc_context(STYLE):
        figure = figure_of(5.2 * across if across > 1 else 6.4, 3.7 * lines)
        cells = figure.subplots(lines, across, squeeze=False).ravel()
        for axes, draw in zip(cells, panels, strict=False):
            draw(axes, record)
        for axes in cells[len(panels) :]:
            axes.set_visible(False)
    return figure


def _any_errors(found: Mapping[str, Any]) -> bool:
    errors = found["errors"] or {}
    return any(value is not None for own in errors.values() for value in own["mean"])


def _statements(axes: Axes, record: Mapping[str, Any]) -> None:
    found = record["steps"]["statements"]["position"]
    _band(axes, found["conflict"], LINES[1], "contradict each other, of what both have stated")
    _band(axes, found["apart"], LINES[0], "differ, or one is silent, of what either has stated")
    axes.set_title("Statements made so far on which two teachers ...")
    _along(axes)
    axes.set_ylim(0, 1)
    _legend(axes)


def _errors(axes: Axes, record: Mapping[str, Any]) -> None:
    errors = record["steps"]["errors"]
    for number, (teacher, own) in enumerate(errors.items()):
        x = (np.arange(len(own["mean"])) + 0.5) / len(own["mean"])
        y = [math.nan if value is None else value for value in own["mean"]]
        look = dict(color=teacher_colour(number), marker=teacher_mark(number))
        axes.plot(x, y, linewidth=1.4, markersize=5, label=teacher, **look)
    axes.set_title("Share of statements that are wrong")
    _along(axes)
    axes.set_ylim(bottom=0)
    _legend(axes, 4)


def _divergence(axes: Axes, record: Mapping[str, Any]) -> None:
    found = record["steps"]["divergence"]
    own = found["position"]
    _band(axes, own, LINES[1], "between two teachers on one study")
    if any(value is not None for value in own["own"]["mean"]):
        _band(axes, own["own"], LINES[2], "between a teacher's texts on two studies")
    axes.set_title("Divergence of next words under one scorer, in bits")
    _along(axes)
    axes.set_ylim(0, 1.05)
    _legend(axes)


def _embedding(axes: Axes, record: Mapping[str, Any]) -> None:
    _band(axes, record["steps"]["embedding"]["position"], LINES[0], "sentences at the same place of two texts")
    axes.set_title("Cosine distance of sentence embeddings")
    _along(axes)
    axes.set_ylim(bottom=0)
    _legend(axes)


def _band(axes: Axes, line: Mapping[str, Any], look: tuple[Any, Any, str], label: str) -> None:
    value, low, high = ([math.nan if y is None else y for y in line[key]] for key in ("mean", "low", "high"))
    x = (np.arange(len(value)) + 0.5) / len(value)
    colour, dash, mark = look
    axes.plot(x, value, color=colour, linestyle=dash, marker=mark, markersize=4, linewidth=1.6, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def _legend(axes: Axes, columns: int = 1) -> None:
    axes.legend(fontsize=8, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.1))


def _along(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["start of the text", "middle", "end"])
    for label, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=True):
        label.set_horizontalalignment(side)


def stream(record: Mapping[str, Any]) -> Figure:
    """Each stream over its place: means of windows, and the changes with the means between them. A stream is named
    with its corrected p where it changes."""
    found = record["stream"]
    shown = {name: one for name, one in found["streams"].items() if _curve(one)}
    across = min(2, len(shown))
    lines = math.ceil(len(shown) / across)
    with matplotlib.rc_context(STYLE):
        figure = figure_of(5 * across + 0.4, 1.75 * lines + 0.5)
        cells = figure.subplots(lines, across, squeeze=False, sharex=True).ravel()
        for axes, (name, one) in zip(cells, shown.items(), strict=False):
            _one_stream(axes, found["windows"], name, one)
        for axes in cells[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("place in the stream of studies, from the first (0) to the last (1)", fontsize=9)
    return figure


def _curve(one: Mapping[str, Any]) -> bool:
    return sum(value is not None for value in one["values"]) > 1


def _one_stream(axes: Axes, windows: Sequence[float], name: str, one: Mapping[str, Any]) -> None:
    values = [math.nan if value is None else value for value in one["values"]]
    axes.plot(windows, values, color=FLOOR, marker="o", markersize=2.5, linewidth=0.9)
    edges = [0.0, *one["places"], 1.0]
    changed = bool(one["places"])
    for start, end, mean in zip(edges[:-1], edges[1:], one["means"], strict=True):
        if mean is not None:
            axes.plot([start, end], [mean, mean], color=CHOSEN, linewidth=2)
    for place in one["places"]:
        axes.axvline(place, color=REJECTED, linewidth=1.4, linestyle=(0, (4, 2)))
    said = f"changes at {', '.join(f'{place:.2f}' for place in one['places'])}" if changed else "no change"
    said = "not tested, too few studies" if one["p"] is None else f"{said} (p = {one['p']:.3f})"
    axes.set_title(f"{name.replace('_', ' ')}: {said}", fontsize=9, loc="left")
    axes.set_xlim(0, 1)
    axes.margins(y=0.15)


def conflict(record: Mapping[str, Any]) -> Figure:
    """How many studies have which conflict score; those beyond the threshold are hatched."""
    found = record["conflict"]
    edges, counts = np.array(found["histogram"]["edges"]), found["histogram"]["counts"]
    threshold = found["thresholds"]["studies"]
    with matplotlib.rc_context(STYLE):
        figure = figure_of(6.4, 3.1)
        axes = figure.subplots()
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            for a, b, beyond in _halves(low, high, threshold):
                look = dict(color=REJECTED, hatch="///") if beyond else dict(color=CHOSEN)
                axes.bar(a, count, b - a, align="edge", edgecolor="white", linewidth=0.4, **look)
        axes.axvline(threshold, color="#333333", linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set_xlim(0, 1)
        axes.set_xlabel("conflict score: share of pairs of statements that contradict each other")
        axes.set_ylabel("studies")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        beyond = Patch(facecolor=REJECTED, hatch="///", edgecolor="white", label=f"above {threshold:g}")
        axes.legend(handles=[Patch(facecolor=CHOSEN, label=f"up to {threshold:g}"), beyond])
    return figure


def _halves(low: float, high: float, threshold: float) -> list[tuple[float, float, bool]]:
    """A bar, parted where the threshold lies inside it."""
    if low < threshold < high:
        return [(low, threshold, False), (threshold, high, True)]
    return [(low, high, low >= threshold)]


def _number(one: Mapping[str, Any] | None) -> float | None:
    return None if one is None else one["value"]
