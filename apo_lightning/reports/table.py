"""results.csv to the ablation table: one row an arm, teacher or baseline; means over seeds, and 95 % intervals.

A folder without intervals.csv and differences.csv (an earlier version wrote it) gets a table without intervals and
without bold figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from apo_lightning.reports.measured import KINDS, Results

MEASURES = ("accuracy", "progression_accuracy")
"""What a table has a column for each finding of: the first that it has values for."""
BOTH_CLASSES = ("balanced_accuracy", "positive_f1", "progression_macro_accuracy")
"""Metrics that a finding with labels of one class only has no value in."""


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
    """What is printed: the value, its interval (empty where there is none), the value before, and whether bold."""

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
    Column("accuracy", "mean", "mean accuracy", "Top-1 accuracy, averaged over the findings"),
    Column("balanced_accuracy", "mean", "balanced accuracy", "mean of sensitivity and specificity, over the findings"),
    Column("positive_f1", "mean", "macro-F1", "F1 of the class present, averaged over the findings"),
    Column("f1", "mean", "F1, both classes", "mean of the F1 of present and of absent (an earlier version)"),
    Column("progression_accuracy", "mean", "progression", "Top-1 accuracy of improving, stable, worsening"),
    Column("progression_macro_accuracy", "mean", "progression, macro", "mean recall of the classes, over the findings"),
    Column("progression_unstated", "mean", "course not told", "labelled courses left out; fewer is better", best="min"),
    Column("refusals", "mean", "refusals", "answers that refuse, or have no text; fewer is better", best="min"),
    Column("states_nothing", "mean", "states nothing", "answers that state no finding and refuse nothing", best="min"),
    Column("normal", "mean", "normal", "answers that call the film normal, which denies every finding", best=None),
    Column("cut", "mean", "cut off", "answers that ran into the limit of new tokens; fewer is better", best="min"),
    Column("logp_preferred", "mean", "log p (t+)", "mean log-probability (nats) of the preferred texts", 1, None),
    Column("logp_teachers", "mean", "log p (teachers)", "mean log-probability (nats) of the teachers' texts", 1, None),
)


def measure(frame: pd.DataFrame) -> str:
    """The metric that every finding has a column of."""
    return next((name for name in MEASURES if (frame["metric"] == name).any()), MEASURES[0])


def title(frame: pd.DataFrame) -> str:
    """How the mean of the measure is called."""
    return next(column.title for column in SUMMARY if column.metric == measure(frame))


def findings(frame: pd.DataFrame) -> list[str]:
    """Names of the findings that are measured, in order of appearance."""
    names = frame.loc[frame["metric"] == measure(frame), "finding"].unique()
    return [str(name) for name in names if name != "mean"]


def one_class(frame: pd.DataFrame) -> list[str]:
    """Findings that are measured but have no value where two classes are compared."""
    compared = frame[frame["metric"].isin(BOTH_CLASSES) & frame["finding"].isin(findings(frame))]
    known = compared.groupby("finding", sort=False)["value"].count()
    measured = frame[frame["metric"] == measure(frame)].groupby("finding")["value"].count()
    return [str(name) for name, count in known.items() if count == 0 and measured[name] > 0]


def cut_off(frame: pd.DataFrame, limit: float) -> list[tuple[str, float]]:
    """Label and share of the rows of which more than ``limit`` of the texts ran into the limit of new tokens."""
    shares = frame[frame["metric"] == "cut"].groupby(["kind", "label"], sort=False)["value"].mean()
    return [(str(label), float(share)) for (_, label), share in shares.items() if share > limit]


def columns(frame: pd.DataFrame) -> list[Column]:
    """The measure of each finding, then the summary columns that the frame has values for."""
    word = "accuracy" if measure(frame) == "accuracy" else "progression"
    each = [Column(measure(frame), name, name.replace("_", " "), f"{word} on that finding") for name in findings(frame)]
    present = set(zip(frame["metric"], frame["finding"], strict=True))
    return each + [column for column in SUMMARY if (column.metric, column.finding) in present]


def arm_labels(frame: pd.DataFrame) -> dict[str, str]:
    """Arm to label, in experiment order."""
    arms = frame[frame["kind"] == "arm"].drop_duplicates("arm")
    return dict(zip(arms["arm"], arms["label"], strict=True))


def wide(results: Results) -> pd.DataFrame:
    """The table as numbers. Index (kind, arm), arms first, each kind in order of appearance; columns ``label``,
    ``seeds`` (how many), and for each metric/finding its mean over seeds and, with ``low`` and ``high`` after the name,
    the ends of its interval (NaN where there is none)."""
    frame, rows = results.values, []
    bounds = results.intervals[["low", "high"]].to_dict("index")
    for kind in KINDS:
        for arm, own in frame[frame["kind"] == kind].groupby("arm", sort=False):
            row: dict[str, object] = {
                "kind": kind,
                "arm": arm,
                "label": own["label"].iat[0],
                "seeds": own["seed"].nunique(),
            }
            for (metric, finding), cell in own.groupby(["metric", "finding"], sort=False):
                found = bounds.get((kind, arm, metric, finding), {})
                row[f"{metric}/{finding}"] = cell["value"].mean()
                row |= {f"{metric}/{finding} {end}": found.get(end, math.nan) for end in ("low", "high")}
            rows.append(row)
    return pd.DataFrame(rows).set_index(["kind", "arm"])


def rows(results: Results) -> list[Row]:
    """The table as printed cells; see `separated` for what is bold."""
    table, shown = wide(results), columns(results.values)
    best = {column.key: separated(results, table, column) for column in shown}
    return [
        Row(kind, arm, str(values["label"]), [
            _cell(values, column, bold=kind == "arm" and arm == best[column.key]) for column in shown
        ])
        for (kind, arm), values in table.iterrows()
    ]  # fmt: skip


def separated(results: Results, table: pd.DataFrame, column: Column) -> str | None:
    """The best arm of a column if the interval of its difference from every other arm excludes 0, else None."""
    if column.best is None or "arm" not in table.index.get_level_values("kind"):
        return None
    values = table.loc["arm", column.key].dropna()
    if len(values) < 2:
        return None
    best = str(values.idxmax() if column.best == "max" else values.idxmin())
    apart = [difference(results, best, str(arm), column.metric, column.finding) for arm in values.index if arm != best]
    return best if all(low > 0 or high < 0 for _, low, high, _ in apart) else None


def difference(results: Results, arm: str, against: str, metric: str, finding: str) -> tuple[float, float, float, int]:
    """Value of ``arm`` minus that of ``against``, the ends of its interval, and how many seeds both have.

    NaN for the ends where the folder has no intervals, or where every resample gives the same difference.
    """
    table = results.differences
    for one, other, sign in ((arm, against, 1), (against, arm, -1)):
        if (one, other, metric, finding) in table.index:
            found = table.loc[(one, other, metric, finding)]
            low, high = sorted((sign * found["low"], sign * found["high"]))
            return sign * found["value"], low, high, int(found["seeds"])
    frame = results.values
    own = frame[(frame["kind"] == "arm") & (frame["metric"] == metric) & (frame["finding"] == finding)]
    by_seed = own.pivot(index="seed", columns="arm", values="value")
    paired = (by_seed[arm] - by_seed[against]).dropna() if {arm, against} <= set(by_seed) else pd.Series(dtype=float)
    return float(paired.mean()), math.nan, math.nan, len(paired)


def _cell(values: pd.Series, column: Column, *, bold: bool) -> Cell:
    value, digits = values[column.key], column.digits
    if pd.isna(value):
        return Cell("–")
    spread = bracket(values[f"{column.key} low"], values[f"{column.key} high"], digits)
    before = values.get(f"{column.metric}_before/{column.finding}", math.nan)
    return Cell(_number(value, digits), spread, "" if pd.isna(before) else _number(before, digits), bold)


def bracket(low: float, high: float, digits: int) -> str:
    """An interval as it is printed, empty where there is none.

    >>> bracket(0.5, 1.0, 2)
    '[0.50, 1.00]'
    """
    return "" if pd.isna(low) else f"[{_number(low, digits)}, {_number(high, digits)}]"


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def reference_arm(frame: pd.DataFrame) -> str | None:
    """The arm that others are compared with: ``sft`` (the control), else ``spd_mt``, else the first arm."""
    arms = list(arm_labels(frame))
    return next((name for name in ("sft", "spd_mt") if name in arms), arms[0] if arms else None)


def differences(results: Results, against: str = "sft") -> pd.DataFrame:
    """Mean of the measure of each arm minus that of the arm ``against``, paired by study and seed.

    Returns one row an arm other than ``against``: ``label``, ``n`` (shared seeds), ``mean``, ``low``, ``high`` (95 %
    interval, NaN where there is none). Empty where there is no such arm or no other arm.
    """
    labels, metric = arm_labels(results.values), measure(results.values)
    scored = set(results.values.loc[results.values["metric"] == metric, "arm"])
    found = []
    for arm in [arm for arm in labels if arm != against and {arm, against} <= scored & set(labels)]:
        mean, low, high, n = difference(results, arm, against, metric, "mean")
        found.append({"arm": arm, "label": labels[arm], "n": n, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(found, columns=["arm", "label", "n", "mean", "low", "high"]).set_index("arm")
