"""What a run folder, or one evaluation set of it, says in its five tables, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from apo_lightning.errors import ArtifactError
from apo_lightning.files.characters import visible
from apo_lightning.files.formats import unquoted
from apo_lightning.reports.folder import advice, is_there, own, require_whole

FIELDS = ["arm", "label", "kind", "seed", "metric", "finding", "value"]
KINDS = ("arm", "teacher", "baseline")
_OF_CLASSES = ("accuracy", "balanced_accuracy", "positive_f1")
_OF_SCORES = (*_OF_CLASSES, "auroc", "average_precision", "ece", "brier")
SHARES = (
    *_OF_CLASSES,
    "f1",
    "refusals",
    "unstated",
    "invented",
    "missed",
    "progression_accuracy",
    "progression_macro_accuracy",
    "progression_unstated",
    "flip_consistency",
    *(f"{how}_{name}" for how in ("likelihood", "in_place", "vote") for name in _OF_SCORES),
)
"""Metrics that lie in [0, 1]."""
PLACE = ["kind", "arm", "metric", "finding"]
PAIR = ["arm", "against", "metric", "finding"]
BOUNDS = ["value", "low", "high", "seeds", "studies", "patients"]
TESTED = ["arm", "against", "metric", "finding", "test"]
FOUND = ["n", "statistic", "p", "p_holm"]
AGREED = ["arm", "finding"]
KAPPA = ["kappa", "low", "high", "seeds", "studies"]


def nothing(index: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """The table of a file that is not there."""
    return pd.DataFrame(columns=list(columns), index=pd.MultiIndex.from_tuples([], names=index), dtype=float)


@dataclass(frozen=True, eq=False)
class Results:
    """What a run folder says. Equal only to itself, so that what is made of it can be remembered.

    Attributes:
        values: results.csv.
        intervals: the columns BOUNDS by PLACE; empty where the folder has none.
        differences: the same by PAIR, every pair of arms once.
        tests: the columns FOUND by TESTED.
        agreement: the columns KAPPA by AGREED, Cohen's kappa of the answers between seeds.
        runs: arm to the run that it is of, where the tables of several are laid together.
    """

    values: pd.DataFrame
    intervals: pd.DataFrame
    differences: pd.DataFrame
    tests: pd.DataFrame = field(default_factory=lambda: nothing(TESTED, FOUND))
    agreement: pd.DataFrame = field(default_factory=lambda: nothing(AGREED, KAPPA))
    runs: Mapping[str, str] = field(default_factory=dict)


def load(run_folder: Path, folder: Path | None = None) -> Results:
    """The tables of a run, or of the folder of one further set in it, checked.

    Raises:
        ArtifactError: names the file, the row where there is one, and what to do.
    """
    folder = folder or run_folder
    return Results(
        values(run_folder, folder),
        _bounds(folder / "intervals.csv", PLACE, BOUNDS, run_folder),
        _bounds(folder / "differences.csv", PAIR, BOUNDS, run_folder),
        _bounds(folder / "tests.csv", TESTED, FOUND, run_folder),
        _bounds(folder / "agreement.csv", AGREED, KAPPA, run_folder),
    )


def values(run_folder: Path, folder: Path | None = None) -> pd.DataFrame:
    """``results.csv`` alone of what `load` reads, checked.

    Raises:
        ArtifactError: see `load`.
    """
    path = (folder or run_folder) / "results.csv"
    if os.path.lexists(path) and not own(path, run_folder).is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise ArtifactError(f"{path} is {what}, so there is no table. {advice(path, run_folder)}")
    if not path.is_file():
        raise ArtifactError(
            f"{path} does not exist. Finish the experiment '{run_folder.name}' first, or name another run folder."
        )
    return _checked(_read(path, FIELDS, run_folder), path, run_folder)


def _read(path: Path, columns: Sequence[str], run_folder: Path) -> pd.DataFrame:
    require_whole(own(path, run_folder), run_folder)
    names = dict.fromkeys(("arm", "against", "label", "metric", "finding", "test"), str)
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


def _bounds(path: Path, index: Sequence[str], columns: Sequence[str], run_folder: Path) -> pd.DataFrame:
    """Numbers by names, of a file that not every run has."""
    if not is_there(path, run_folder):
        return nothing(index, columns)
    frame = _read(path, [*index, *columns], run_folder)
    columns = [name for name in frame.columns if name not in index]
    numbers = frame[columns].apply(pd.to_numeric, errors="coerce")
    checks = {"a value that is not a number": (numbers.isna() & frame[columns].notna()).any(axis=1)}
    if "low" in numbers:
        checks["a lower bound above the upper one"] = numbers["low"] > numbers["high"]
    for name in ("p", "p_holm"):
        if name in numbers:
            checks[f"a {name} outside [0, 1]"] = (numbers[name] < 0) | (numbers[name] > 1)
    checks["the names of an earlier row"] = frame.duplicated(index)
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
