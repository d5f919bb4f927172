"""Curves over training steps: rewards and log-probabilities, losses, and what was measured on validation studies."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from apo_lightning.reports.figures import CHOSEN, REJECTED, STYLE, figure_of


def preference_arms(metrics: pd.DataFrame) -> list[str]:
    """Arms whose metrics hold rewards."""
    if "train/reward_chosen" not in metrics:
        return []
    return [str(arm) for arm in metrics.loc[metrics["train/reward_chosen"].notna(), "arm"].unique()]


def reward_curves(metrics: pd.DataFrame) -> Figure:
    """One row a preference arm: rewards on the left, log-probabilities on the right, both over optimiser steps.

    ``metrics`` is the table of `read_metrics` for the stage ``apo``. Lines are means over seeds, pale lines single
    seeds; on the right the thin lines are single teachers. The arms share their scales: a collapse shows as one.
    """
    arms = preference_arms(metrics)
    if not arms:
        raise ValueError("no arm has the metric train/reward_chosen")
    with matplotlib.rc_context(STYLE):
        figure = figure_of(10, 2.1 * len(arms) + 0.5)
        panels = figure.subplots(len(arms), 2, sharex="col", sharey="col", squeeze=False)
        for (left, right), arm in zip(panels, arms, strict=True):
            own = metrics[metrics["arm"] == arm]
            left.set_title(own["label"].iat[0], loc="left", fontweight="bold")
            _pair(left, own, "train/reward_chosen", "train/reward_rejected", "reward")
            left.axhline(0, color="#666666", linewidth=0.8)
            for name in (name for name in own if name.startswith("train/logp_rejected/")):
                _curve(right, own, name, REJECTED, width=0.6, seeds=False)
            _pair(right, own, "train/logp_chosen", "train/logp_rejected", "log p (nats)")
        for axes in panels[-1]:
            axes.set_xlabel("optimiser step")
        handles = [
            Line2D([], [], color=c, linewidth=2, label=n) for c, n in ((CHOSEN, "preferred t+"), (REJECTED, "teachers"))
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _pair(axes: Axes, own: pd.DataFrame, chosen: str, rejected: str, ylabel: str) -> None:
    for name, colour in ((chosen, CHOSEN), (rejected, REJECTED)):
        _curve(axes, own, name, colour)
    axes.set_ylabel(ylabel)


def _curve(axes: Axes, own: pd.DataFrame, name: str, colour: str, *, width: float = 1.8, seeds: bool = True) -> None:
    if name not in own or own[name].isna().all():
        return
    by_step = own.dropna(subset=[name]).pivot_table(index="step", columns="seed", values=name)
    if seeds and by_step.shape[1] > 1:
        axes.plot(by_step.index, by_step.to_numpy(), color=colour, alpha=0.25, linewidth=0.7)
    axes.plot(by_step.index, by_step.mean(axis=1), color=colour, linewidth=width)


def spd_curve(metrics: pd.DataFrame, styles: Mapping[str, tuple[str, str]], stage: str = "SPD") -> Figure:
    """Loss of the SPD stage, or of another one, over optimiser steps. Arms that share a stored stage share one line."""
    if "train/loss" not in metrics or metrics["train/loss"].isna().all():
        raise ValueError("no arm has the metric train/loss in its stage spd")
    groups: dict[tuple[str, ...], list[str]] = {}
    for arm, own in metrics.groupby("arm", sort=False):
        groups.setdefault(tuple(own["run"].unique()), []).append(str(arm))
    with matplotlib.rc_context(STYLE):
        figure = figure_of(8, 3.2)
        axes = figure.subplots()
        for arms in groups.values():
            own = metrics[metrics["arm"] == arms[0]]
            _curve(axes, own, "train/loss", styles[arms[0]][0])
            shared = f", shared by {len(arms)} arms" if len(arms) > 1 else ""
            axes.plot([], [], color=styles[arms[0]][0], linewidth=1.8, label=own["label"].iat[0] + shared)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel(f"{stage} loss")
        axes.legend(loc="upper right")
    return figure


def validation_metrics(metrics: pd.DataFrame) -> list[str]:
    """Names of what was measured on validation studies while a stage trained, the loss first; at most four."""
    names = [
        name for name in metrics if name.startswith("val/") and name.count("/") == 1 and metrics[name].notna().any()
    ]
    return sorted(names, key=lambda name: (name != "val/loss", name))[:4]


def validation_curves(metrics: pd.DataFrame, styles: Mapping[str, tuple[str, str]]) -> Figure:
    """A panel per metric, one line per arm."""
    names = validation_metrics(metrics)
    if not names:
        raise ValueError("no arm has a metric that begins with val/")
    with matplotlib.rc_context(STYLE):
        figure = figure_of(10, 3.2 if len(names) < 3 else 5.6)
        panels = figure.subplots(-(-len(names) // 2), min(2, len(names)), squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            for arm, own in metrics.groupby("arm", sort=False):
                _curve(axes, own, name, styles[str(arm)][0])
            axes.set_title(name.removeprefix("val/").replace("_", " "), loc="left")
            axes.set_xlabel("optimiser step")
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        labels = metrics.drop_duplicates("arm").set_index("arm")["label"]
        handles = [Line2D([], [], color=styles[arm][0], linewidth=2, label=label) for arm, label in labels.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure
