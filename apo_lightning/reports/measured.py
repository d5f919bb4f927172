"""What a run folder says in results.csv, intervals.csv and differences.csv, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from apo_lightning.characters import visible
from apo_lightning.csv_cells import unquoted
from apo_lightning.errors import ArtifactError
from apo_lightning.reports.folder import advice, is_there, own, require_whole

FIELDS = ["arm", "label", "kind", "seed", "metric", "finding", "value"]
KINDS = ("arm", "teacher", "baseline")
SHARES = (
    "accuracy", "balanced_accuracy", "positive_f1", "f1", "refusals", "unstated", "progression_accuracy",
    "progression_macro_accuracy", "progression_unstated", "flip_consistency",
    *(f"{kind}_{metric}" for kind in ("likelihood", "vote")
      for metric in ("accuracy", "balanced_accuracy", "positive_f1", "auroc", "average_precision", "ece")),
)  # fmt: skip
"""Metrics that lie in [0, 1]."""
PLACE = ["kind", "arm", "metric", "finding"]
PAIR = ["arm", "against", "metric", "finding"]
BOUNDS = ["value", "low", "high", "seeds", "studies", "patients"]


@dataclass(frozen=True)
class Results:
    """What a run folder says.

    Attributes:
        values: results.csv.
        intervals: the columns BOUNDS by PLACE; empty where the folder has none.
        differences: the same by PAIR, every pair of arms once.
    """

    values: pd.DataFrame
    intervals: pd.DataFrame
    differences: pd.DataFrame


def load(run_folder: Path) -> Results:
    """results.csv, intervals.csv and differences.csv, checked.

    Raises:
        ArtifactError: names the file, the row where there is one, and what to do.
    """
    path = run_folder / "results.csv"
    if os.path.lexists(path) and not own(path, run_folder).is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise ArtifactError(f"{path} is {what}, so there is no table. {advice(path, run_folder)}")
    if not path.is_file():
        raise ArtifactError(
            f"{path} does not exist. Finish the experiment '{run_folder.name}' first, or name another run folder."
        )
    values = _checked(_read(path, FIELDS, run_folder), path, run_folder)
    return Results(values, _bounds("intervals.csv", PLACE, run_folder), _bounds("differences.csv", PAIR, run_folder))


def _read(path: Path, columns: Sequence[str], run_folder: Path) -> pd.DataFrame:
    require_whole(own(path, run_folder), run_folder)
    names = dict.fromkeys(("arm", "against", "label", "finding"), str)
    try:
        frame = pd.read_csv(path, dtype=names, na_values=[""], keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser and empty-file errors are ValueErrors
        raise ArtifactError(
            f"{path} is not readable as CSV ({str(error).strip()}). {advice(path, run_folder)}"
        ) from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ArtifactError(
            f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(columns)}. {advice(path, run_folder)}"
        )
    text = [name for name in names if name in columns]
    return frame[list(columns)].assign(**frame[text].map(unquoted).map(_shown))


def _shown(name: Any) -> Any:
    return visible(name) if isinstance(name, str) else name


def _bounds(name: str, index: Sequence[str], run_folder: Path) -> pd.DataFrame:
    path = run_folder / name
    if not is_there(path, run_folder):
        return pd.DataFrame(columns=BOUNDS, index=pd.MultiIndex.from_tuples([], names=index), dtype=float)
    frame = _read(path, [*index, *BOUNDS], run_folder)
    numbers = frame[BOUNDS].apply(pd.to_numeric, errors="coerce")
    checks = {
        "a value that is not a number": (numbers.isna() & frame[BOUNDS].notna()).any(axis=1),
        "a lower bound above the upper one": numbers["low"] > numbers["high"],
        "the names of an earlier row": frame.duplicated(index),
    }
    _refuse(checks, path, run_folder)
    return pd.concat([frame[index], numbers], axis=1).set_index(index).sort_index()


def _checked(frame: pd.DataFrame, path: Path, run_folder: Path) -> pd.DataFrame:
    value, seed = (pd.to_numeric(frame[name], errors="coerce") for name in ("value", "seed"))
    names_missing = frame[["arm", "label", "metric", "finding"]].isna().any(axis=1)
    unreadable = value.isna() & frame["value"].notna() & (frame["value"].astype(str).str.lower() != "nan")
    outside = frame["metric"].isin(SHARES) & ((value < 0) | (value > 1))
    checks = {
        "an empty name": names_missing,
        f"a kind that is none of {', '.join(KINDS)}": ~frame["kind"].isin(KINDS),
        "a seed that is not a whole number": seed.isna() | (seed % 1 != 0),
        "a value that is not a number": unreadable,
        "a share outside [0, 1]": outside,
        "the arm, seed, metric and finding of an earlier row": frame.duplicated(
            ["kind", "arm", "seed", "metric", "finding"]
        ),
    }
    _refuse(checks, path, run_folder)
    if frame.empty:
        raise ArtifactError(f"{path} has no rows. {advice(path, run_folder)}")
    return frame.assign(value=value.astype(float), seed=seed.astype(int))


def _refuse(checks: Mapping[str, pd.Series], path: Path, run_folder: Path) -> None:
    for what, bad in checks.items():
        if bad.any():
            line = int(np.flatnonzero(bad)[0]) + 2  # the header is line 1
            raise ArtifactError(f"{path} line {line} has {what}. {advice(path, run_folder)}")
