"""What a finished trial is compared by, read from its run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from apo_lightning.errors import ApoError, did_you_mean
from apo_lightning.experiment.jsonl_logger import FILE
from apo_lightning.experiment.sweeps.points import Point
from apo_lightning.files import jsonlines
from apo_lightning.files.formats import unquoted

METRICS = ("accuracy", "balanced_accuracy")


def results(run_folder: Path) -> list[dict[str, Any]]:
    """Arm, label and each metric of METRICS, the mean over findings and seeds, from a run's ``results.csv``."""
    table = _means(run_folder)
    table = table[table["metric"].isin(METRICS)]
    means = table.groupby(["arm", "label", "metric"], sort=False)["value"].mean().unstack("metric")
    return means.reindex(columns=METRICS).reset_index().to_dict("records")


def value(metric: Mapping[str, Any] | None, point: Point) -> float:
    """What a trial logs to W&B under the name of the metric; without a metric, the accuracy on the run's split.

    Raises:
        ApoError: it logs no such thing.
    """
    split = point.cfg.evaluate.split
    name = metric["name"] if metric else f"{split}/accuracy"
    logged = _scores(point.folder, split)
    if name not in logged and (found := curve(name, point)):
        return found[-1]
    if name not in logged:
        raise ApoError(f"metric.name names nothing that the trial logs, got '{name}'. {did_you_mean(name, logged)}")
    return logged[name]


def _scores(folder: Path, split: str) -> dict[str, float]:
    """By arm and seed, by arm, and over all, under the names that a trial of W&B logs."""
    from apo_lightning.experiment import tracking
    from apo_lightning.experiment.run_names import Who

    found: dict[Who, dict[str, float]] = {}
    for row in _means(folder).to_dict("records"):
        found.setdefault(Who("", row["arm"], row["seed"]), {})[f"{split}/{row['metric']}"] = row["value"]
    single = {who.key(name): number for who, own in found.items() for name, number in own.items()}
    return single | tracking.means(found)


def curve(name: str, point: Point) -> list[float]:
    """What a stage has logged while it trained, ``<arm>/seed<k>/<stage>/<name>``; nothing where that names no curve."""
    arm, seed, stage, *rest = [*name.split("/"), "", "", ""]
    path = point.folder / arm / seed / stage / FILE
    if not (arm in point.cfg.resolved and path.is_file()):
        return []
    key = "/".join(word for word in rest if word)
    rows = jsonlines.read_grown(path, keys=("step",)).rows
    return [math.nan if row[key] is None else float(row[key]) for row in rows if key in row]


def _means(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "results.csv").map(unquoted)
    return table[(table["kind"] == "arm") & (table["finding"] == "mean")]
