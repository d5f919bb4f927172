"""Which column a report's first sentence ranks arms by."""

from __future__ import annotations

import pandas as pd

from apo_lightning.reports.columns import SUMMARY, Column, measure

BALANCED = {
    "accuracy": "balanced_accuracy",
    "progression_accuracy": "progression_macro_accuracy",
    "likelihood_accuracy": "likelihood_balanced_accuracy",
}
"""Each measure's twin in which every class counts the same."""


def column(frame: pd.DataFrame) -> Column:
    """What a report's first sentence ranks arms by: the measure, balanced over the two answers where that is known. An
    answer that denies everything scores well in the plain one where findings are rare."""
    known = set(frame.loc[(frame["finding"] == "mean") & frame["value"].notna(), "metric"])
    name = BALANCED[measure(frame)]
    return next(own for own in SUMMARY if own.metric == (name if name in known else measure(frame)))


def title(frame: pd.DataFrame) -> str:
    """How it is called."""
    own = column(frame)
    return f"{own.title} by likelihood" if own.metric.startswith("likelihood") else own.title
