"""results.csv to the ablation table: one row an arm, teacher or baseline; mean and 95 % interval over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from apo_lightning.errors import ArtifactError
from apo_lightning.reports.folder import advice

FIELDS = ["arm", "label", "kind", "seed", "metric", "finding", "value"]
KINDS = ("arm", "teacher", "baseline")
SHARES = ("accuracy", "balanced_accuracy", "f1", "progression_accuracy", "progression_macro_accuracy")
"""Metrics that lie in [0, 1]."""


@dataclass(frozen=True)
class Column:
    """One column of the table. ``best`` is which end is bold among arms; None where no end is better."""

    metric: str
    finding: str
    title: str
    meaning: str
    digits: int = 3
    best: str | None = "max"

    @property
    def key(self) -> str:
        return f"{self.metric}/{self.finding}"


@dataclass(frozen=True)
class Cell:
    """What is printed: the value, its spread (empty with one seed), the value before, and whether it is the best."""

    text: str
    spread: str = ""
    before: str = ""
    bold: bool = False

    @property
    def value(self) -> str:
        return f"{self.before} → {self.text}" if self.before else self.text


@dataclass(frozen=True)
class Row:
    """A printed row: its kind, arm name, label and one cell a column."""

    kind: str
    arm: str
    label: str
    cells: list[Cell]


SUMMARY = (
    Column("accuracy", "mean", "mean accuracy", "accuracy averaged over the findings"),
    Column("balanced_accuracy", "mean", "balanced accuracy", "mean of sensitivity and specificity, over the findings"),
    Column("f1", "mean", "macro-F1", "F1 of the present class, averaged over the findings"),
    Column("progression_accuracy", "mean", "progression", "Top-1 accuracy of improving, stable, worsening"),
    Column("progression_macro_accuracy", "mean", "progression, macro", "its mean over the classes, over the findings"),
    Column("refusals", "mean", "refusals", "answers that refuse, or have no text; fewer is better", best="min"),
    Column("states_nothing", "mean", "states nothing", "answers that state no finding and refuse nothing", best="min"),
    Column("normal", "mean", "normal", "answers that call the film normal, which denies every finding", best=None),
    Column("logp_preferred", "mean", "log p (t+)", "mean log-probability (nats) of the preferred texts", 1, None),
    Column("logp_teachers", "mean", "log p (teachers)", "mean log-probability (nats) of the teachers' texts", 1, None),
)


def load(run_folder: Path) -> pd.DataFrame:
    """results.csv, checked. Raises ArtifactError naming the file, the row where there is one, and what to do."""
    path = run_folder / "results.csv"
    if not path.is_file():
        raise ArtifactError(
            f"{path} does not exist. Finish the experiment '{run_folder.name}' first, or name another run folder."
        )
    try:
        frame = pd.read_csv(
            path, dtype={"arm": str, "label": str, "finding": str}, na_values=[""], keep_default_na=False
        )
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser and empty-file errors are ValueErrors
        raise ArtifactError(
            f"{path} is not readable as CSV ({str(error).strip()}). {advice(path, run_folder)}"
        ) from error
    missing = [name for name in FIELDS if name not in frame.columns]
    if missing:
        known = ", ".join(FIELDS)
        raise ArtifactError(
            f"{path} lacks the columns {', '.join(missing)}; it needs {known}. {advice(path, run_folder)}"
        )
    return _checked(frame[FIELDS].copy(), path, run_folder)


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
    for what, bad in checks.items():
        if bad.any():
            line = int(np.flatnonzero(bad)[0]) + 2  # the header is line 1
            raise ArtifactError(f"{path} line {line} has {what}. {advice(path, run_folder)}")
    if frame.empty:
        raise ArtifactError(f"{path} has no rows. {advice(path, run_folder)}")
    return frame.assign(value=value.astype(float), seed=seed.astype(int))


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Mean and half-width of the 95 % interval of Student's t; NaN values are left out.

    The half-width is ``t(0.975, n - 1) * s / sqrt(n)`` with the sample deviation ``s``; NaN for fewer than two values.

    >>> interval([0.5])
    (0.5, nan)
    """
    array = np.array([value for value in values if not math.isnan(value)], dtype=float)
    if array.size < 2:
        return (float(array[0]) if array.size else math.nan), math.nan
    half = stats.t.ppf(0.975, array.size - 1) * array.std(ddof=1) / math.sqrt(array.size)
    return float(array.mean()), float(half)


def findings(frame: pd.DataFrame) -> list[str]:
    """Names of the findings with an accuracy, in order of appearance."""
    names = frame.loc[frame["metric"] == "accuracy", "finding"].unique()
    return [str(name) for name in names if name != "mean"]


def columns(frame: pd.DataFrame) -> list[Column]:
    """Accuracy a finding, then the summary columns that the frame has values for."""
    each = [Column("accuracy", name, name.replace("_", " "), "accuracy on that finding") for name in findings(frame)]
    present = set(zip(frame["metric"], frame["finding"], strict=True))
    return each + [column for column in SUMMARY if (column.metric, column.finding) in present]


def arm_labels(frame: pd.DataFrame) -> dict[str, str]:
    """Arm to label, in experiment order."""
    arms = frame[frame["kind"] == "arm"].drop_duplicates("arm")
    return dict(zip(arms["arm"], arms["label"], strict=True))


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as numbers. Index (kind, arm), arms first, each kind in order of appearance; columns ``label``,
    ``seeds`` (how many), and for each metric/finding its mean and, with ``±`` after the name, its half-width."""
    rows = []
    for kind in KINDS:
        for arm, own in frame[frame["kind"] == kind].groupby("arm", sort=False):
            row: dict[str, object] = {
                "kind": kind,
                "arm": arm,
                "label": own["label"].iat[0],
                "seeds": own["seed"].nunique(),
            }
            for (metric, finding), cell in own.groupby(["metric", "finding"], sort=False):
                row[f"{metric}/{finding}"], row[f"{metric}/{finding} ±"] = interval(cell["value"])
            rows.append(row)
    return pd.DataFrame(rows).set_index(["kind", "arm"])


def rows(frame: pd.DataFrame) -> list[Row]:
    """The table as printed cells; the best arm of a column is bold (both, where the printed values tie)."""
    table, shown = wide(frame), columns(frame)
    best = {column.key: _best(table, column) for column in shown}
    return [
        Row(kind, arm, str(values["label"]), [_cell(values, column, kind, best[column.key]) for column in shown])
        for (kind, arm), values in table.iterrows()
    ]


def _best(table: pd.DataFrame, column: Column) -> str | None:
    """Printed form of the best value among arms; None where no arm is better than another."""
    if column.best is None or "arm" not in table.index.get_level_values("kind"):
        return None
    values = table.loc["arm", column.key].dropna()
    printed = {_number(value, column.digits) for value in values}
    if len(printed) < 2:
        return None
    return _number(values.max() if column.best == "max" else values.min(), column.digits)


def _cell(values: pd.Series, column: Column, kind: str, best: str | None) -> Cell:
    value, half = values[column.key], values[f"{column.key} ±"]
    if pd.isna(value):
        return Cell("–")
    text = _number(value, column.digits)
    spread = "" if pd.isna(half) else f"± {_number(half, column.digits)}"
    bold = kind == "arm" and text == best
    before = values.get(f"{column.metric}_before/{column.finding}", math.nan)
    return Cell(text, spread, "" if pd.isna(before) else _number(before, column.digits), bold)


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def reference_arm(frame: pd.DataFrame) -> str | None:
    """The arm that others are compared with: ``sft`` (the control), else ``spd_mt``, else the first arm."""
    arms = list(arm_labels(frame))
    return next((name for name in ("sft", "spd_mt") if name in arms), arms[0] if arms else None)


def differences(frame: pd.DataFrame, against: str = "sft") -> pd.DataFrame:
    """Mean accuracy of each arm minus that of the arm ``against``, paired by seed.

    Returns one row an arm other than ``against``: ``label``, ``n`` (shared seeds), ``mean``, ``half`` (95 % half-width,
    NaN for one seed). Empty where there is no such arm or no other arm.
    """
    mean = frame[(frame["kind"] == "arm") & (frame["metric"] == "accuracy") & (frame["finding"] == "mean")]
    by_seed = mean.pivot(index="seed", columns="arm", values="value")
    others = [arm for arm in arm_labels(frame) if arm != against and arm in by_seed]
    found = []
    if against in by_seed:
        for arm in others:
            paired = (by_seed[arm] - by_seed[against]).dropna()
            centre, half = interval(paired)
            found.append({"arm": arm, "label": arm_labels(frame)[arm], "n": len(paired), "mean": centre, "half": half})
    return pd.DataFrame(found, columns=["arm", "label", "n", "mean", "half"]).set_index("arm")
