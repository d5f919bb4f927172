"""The figure of a study: how far each arm is from the control in each world."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from apo_lightning.reports.figures import CHOSEN, REJECTED, STYLE, figure_of, wrapped

DIVERGING = LinearSegmentedColormap.from_list("apart", [REJECTED, "#FFFFFF", CHOSEN])
LEAST = 0.01
"""The scale reaches at least so far, or noise of a thousandth would be drawn in full colour."""


def heat(differences: pd.DataFrame, title: str) -> Figure:
    """A map of arms x worlds, each cell with its number; what was not measured is empty.

    Args:
        differences: ``[arms, worlds]`` by label; NaN where there is none.
        title: what is shown.
    """
    reach = max(LEAST, float(np.nanmax(np.abs(differences.to_numpy()))))
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = figure_of(2.8 + 1.1 * differences.shape[1], 1.4 + 0.4 * len(differences))
        axes = figure.subplots()
        drawn = axes.imshow(differences, cmap=DIVERGING, vmin=-reach, vmax=reach, aspect="auto")
        axes.set_xticks(range(differences.shape[1]), [wrapped(name, 14) for name in differences.columns])
        axes.set_yticks(range(len(differences)), [wrapped(name, 36) for name in differences.index])
        axes.set_title(wrapped(title, 60), loc="left")
        for (row, column), value in np.ndenumerate(differences.to_numpy()):
            if not math.isnan(value):
                colour = "white" if abs(value) > 0.7 * reach else "black"
                axes.annotate(f"{value:+z.3f}", (column, row), ha="center", va="center", color=colour, fontsize=8)
        figure.colorbar(drawn, ax=axes)
    return figure
