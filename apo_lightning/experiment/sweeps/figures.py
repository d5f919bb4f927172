"""Figures of a sweep: the metric over each parameter, all parameters side by side, and which of them mattered."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from apo_lightning.experiment.sweeps import names
from apo_lightning.experiment.sweeps.file import GRID, Plan
from apo_lightning.experiment.sweeps.proposals import SEED
from apo_lightning.experiment.sweeps.record import Record
from apo_lightning.files.atomic import write_bytes, write_text

ACROSS = 4
"""Panels side by side."""
ENOUGH = 4
"""Trials a parameter from which on its importance is measured."""


def write(record: Record, found: pd.DataFrame) -> list[str]:
    """Draw what there is to draw; returns the names of the files."""
    plan, folder = record.plan, record.folder
    fine = found[(found["error"] == "") & found["accuracy"].notna()]  # neither failed nor ended early
    shares = [name for name in found.columns if name.startswith("share.")]
    keys = [key for key in plan.varied if not (shares and names.WEIGHT.fullmatch(key))] + shares
    if fine.empty or not keys:
        return []
    drawn = ["curve.png"]
    curve(fine, keys, folder / "curve.png", lines=plan.method == GRID)
    if len(keys) > 1 and fine["trial"].nunique() > 1:
        parallel(fine.drop_duplicates("trial"), keys, _metric(plan, fine), folder / "parallel.png")
        drawn.append("parallel.png")
    if important := importances(record):
        rows = "".join(f"{key},{value:.4f}\n" for key, value in important.items())
        write_text(folder / "importances.csv", f"parameter,importance\n{rows}")
        drawn.append("importances.csv")
    return drawn


def curve(frame: pd.DataFrame, keys: Sequence[str], path: Path, *, lines: bool) -> None:
    """One panel a parameter, one colour an arm. ``lines``: joined over the parameter; where others vary too, the line
    is their mean."""
    across = min(len(keys), ACROSS)
    down = -(-len(keys) // across)
    figure = Figure(figsize=(4.5 * across, 3.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    split = frame["split"].iloc[0] if "split" in frame else ""
    for axes, key in zip(panels, keys, strict=False):
        _panel(axes, frame, key, lines)
        axes.set(xlabel=_title(keys)[key], ylabel=f"{split} accuracy (mean over findings)")
    for axes in panels[len(keys) :]:
        axes.set_axis_off()
    if frame["arm"].nunique() > 1:
        panels[0].legend()
    _save(figure, path)


def _panel(axes: Axes, frame: pd.DataFrame, key: str, lines: bool) -> None:
    positions = _positions(frame[key].tolist())
    axes.set_xscale(scale(list(positions.values())))
    for arm, rows in frame.groupby("arm", sort=False):
        places = rows[key].map(positions)
        how = {"alpha": 0.4} if lines else {"label": arm}
        (dots,) = axes.plot(places, rows["accuracy"], "o", markersize=4, **how)
        if lines:
            means = rows.groupby(places)["accuracy"].mean()
            axes.plot(means.index, means.values, "o-", color=dots.get_color(), label=arm)
    if lines:
        axes.set_xticks(list(positions.values()), [_tick(value) for value in positions])
        axes.minorticks_off()
    axes.grid(alpha=0.3)


def parallel(frame: pd.DataFrame, keys: Sequence[str], metric: str, path: Path) -> None:
    """One line a trial over all parameters and the metric, whose value is its colour; the best is thick."""
    figure = Figure(figsize=(1.6 * (len(keys) + 1) + 2, 4.5), layout="constrained")
    axes = figure.subplots()
    norm, colours = Normalize(frame["value"].min(), frame["value"].max()), colormaps["viridis"]
    columns = [*keys, "value"]
    places = {key: _positions(frame[key].tolist()) for key in columns}
    heights = {key: _heights(frame[key].map(places[key])) for key in columns}
    for row, (value, best) in enumerate(zip(frame["value"], frame["best"], strict=True)):
        line = [heights[key].iloc[row] for key in columns]
        how = {"linewidth": 3} if best else {"linewidth": 1, "alpha": 0.7}
        axes.plot(range(len(columns)), line, color=colours(norm(value)), **how)
    for place, key in enumerate(columns):
        for height, shift in {heights[key].max(): 4, heights[key].min(): -10}.items():
            shown = _tick(frame[key][heights[key] == height].iloc[0])
            axes.annotate(shown, (place, height), xytext=(3, shift), textcoords="offset points", fontsize=8)
        axes.axvline(place, color="0.8", zorder=0)
    axes.set_xticks(range(len(columns)), [*_title(keys).values(), metric], rotation=20, ha="right")
    axes.set_yticks([])
    figure.colorbar(_mappable(norm, colours), ax=axes, label=metric)
    _save(figure, path)


def importances(record: Record) -> dict[str, float]:
    """Share of the metric's variance that each parameter explains (Optuna's fANOVA), the largest first; nothing where
    too few trials were made to tell, or all came to the same."""
    done = record.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(record.plan.varied) < 2 or len(done) < ENOUGH * len(record.plan.varied) or len({t.value for t in done}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=SEED)
    return optuna.importance.get_param_importances(record.study, evaluator=evaluator)


def scale(values: Sequence[float]) -> str:
    """``log`` where positive values span a factor of ten or more."""
    return "log" if values and min(values) > 0 and max(values) >= 10 * min(values) else "linear"


def _heights(places: pd.Series) -> pd.Series:
    """From 0 to 1; on a logarithmic scale where that is due."""
    import numpy as np

    own = np.log(places) if scale(places.tolist()) == "log" else places.astype(float)
    width = own.max() - own.min()
    return (own - own.min()) / width if width else own * 0 + 0.5


def _positions(values: Sequence[Any]) -> dict[Any, float]:
    """Where each value lies on the axis: numbers at themselves, words one after the other."""
    unique = list(dict.fromkeys(values))
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in unique)
    return {value: float(value) if numbers else float(place) for place, value in enumerate(unique)}


def _title(keys: Sequence[str]) -> dict[str, str]:
    return {
        key: f"share of {key.removeprefix('share.')}" if key.startswith("share.") else name
        for key, name in names.short(keys).items()
    }


def _metric(plan: Plan, found: pd.DataFrame) -> str:
    return plan.metric["name"] if plan.metric else f"{found['split'].iloc[0]}/accuracy"


def _tick(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _mappable(norm: Normalize, colours: Any) -> Any:
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm, colours)


def _save(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150, format="png")
    write_bytes(path, drawn.getbuffer())
