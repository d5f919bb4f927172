"""Arms that are points of a curve, as config.yaml says: ``arms.<arm>.curve: {axis, x, line}``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apo_lightning.reports.columns import measure
from apo_lightning.reports.measured import Results
from apo_lightning.reports.table import arm_labels

MEASURES = ("balanced_accuracy", "likelihood_auroc", "in_place_auroc")
"""Panels beside the measure's; at most three in all."""


@dataclass(frozen=True)
class Point:
    """One arm on an axis, such as 3 teachers heard, and on which line."""

    arm: str
    axis: str
    x: float
    line: str


def points(settings: Mapping[str, Any], results: Results) -> dict[str, list[Point]]:
    """Axis to its points, in the order of the arms; arms without results, and axes of one value, are left out."""
    arms = settings.get("arms")
    found: dict[str, list[Point]] = {}
    for arm in arm_labels(results.values):
        own = arms.get(arm) if isinstance(arms, Mapping) else None
        point = _point(arm, own.get("curve") if isinstance(own, Mapping) else None)
        if point:
            found.setdefault(point.axis, []).append(point)
    return {axis: own for axis, own in found.items() if len({point.x for point in own}) > 1}


def _point(arm: str, curve: Any) -> Point | None:
    if not isinstance(curve, Mapping) or not isinstance(curve.get("x"), int | float) or not math.isfinite(curve["x"]):
        return None
    return Point(arm, str(curve.get("axis") or "x"), float(curve["x"]), str(curve.get("line") or "arms"))


def metrics(results: Results) -> list[str]:
    """What is drawn over an axis."""
    known = results.values[(results.values["kind"] == "arm") & (results.values["finding"] == "mean")]
    scored = set(known.dropna(subset=["value"])["metric"])
    return [name for name in dict.fromkeys((measure(results.values), *MEASURES)) if name in scored][:3]


def file_name(axis: str) -> str:
    """
    >>> file_name("Teachers heard / of 7")
    'curve_teachers_heard_of_7.png'
    """
    return f"curve_{re.sub(r'[^a-z0-9]+', '_', axis.lower()).strip('_')[:40]}.png"
