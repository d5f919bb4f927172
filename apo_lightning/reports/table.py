"""results.csv to the ablation table: one row an arm, teacher or baseline; means over seeds, and 95 % intervals.

A folder without intervals.csv and differences.csv (an earlier version wrote it) gets a table without intervals and
without bold figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from apo_lightning.reports.columns import BOTH_CLASSES, KAPPA, Column, columns, findings, measure
from apo_lightning.reports.measured import KINDS, Results
from apo_lightning.reports.significance import Comparisons, comparisons

REFERENCES = ("sft", "spd_mt")
"""What arms are compared with: plain fine-tuning on t+ (the control), else SPD with all teachers."""


@dataclass(frozen=True)
class Cell:
    """What is printed: the value, its interval (empty where there is none), the value before, whether bold, stars
    where it is apart from the reference arm, and whether it is too small to compare with that."""

    text: str
    spread: str = ""
    before: str = ""
    bold: bool = False
    mark: str = ""
    small: bool = False

    @property
    def value(self) -> str:
        text = f"{self.text}{self.mark}{' n/c' if self.small else ''}"
        return f"{self.before} → {text}" if self.before else text


@dataclass(frozen=True)
class Row:
    """A printed row: its kind, arm name, label and one cell per column."""

    kind: str
    arm: str
    label: str
    cells: list[Cell]


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


def arm_labels(frame: pd.DataFrame) -> dict[str, str]:
    """Arm to label, in experiment order."""
    arms = frame[frame["kind"] == "arm"].drop_duplicates("arm")
    return dict(zip(arms["arm"], arms["label"], strict=True))


@lru_cache(maxsize=32)
def wide(results: Results) -> pd.DataFrame:
    """The table as numbers. Index (kind, arm), arms first, each kind in order of appearance; columns ``label``,
    ``seeds`` (how many), and for each metric/finding its mean over seeds and, with ``low`` and ``high`` after the name,
    the ends of its interval (NaN where there is none). It is remembered, so nobody may write into it."""
    frame, rows = results.values, []
    bounds = results.intervals[["low", "high"]].to_dict("index")
    means = frame.groupby(["kind", "arm", "metric", "finding"], sort=False)["value"].mean()
    cells: dict[tuple[str, str], dict[str, object]] = {}
    for (kind, arm, metric, finding), value in means.items():
        found = bounds.get((kind, arm, metric, finding), {})
        row = cells.setdefault((kind, arm), {})
        row[f"{metric}/{finding}"] = value
        row |= {f"{metric}/{finding} {end}": found.get(end, math.nan) for end in ("low", "high")}
    for kind in KINDS:
        for arm, own in frame[frame["kind"] == kind].groupby("arm", sort=False):
            names = {"kind": kind, "arm": arm, "label": own["label"].iat[0], "seeds": own["seed"].nunique()}
            more = _agreement(results, str(arm)) if kind == "arm" else {}
            rows.append(names | cells.get((kind, str(arm)), {}) | more)
    return pd.DataFrame(rows).set_index(["kind", "arm"])


def _agreement(results: Results, arm: str) -> dict[str, float]:
    """Kappa between the seeds of an arm, as columns of `wide`."""
    table = results.agreement
    if arm not in table.index.get_level_values("arm"):
        return {}
    found: dict[str, float] = {}
    for finding, own in table.loc[arm].iterrows():
        found |= {f"{KAPPA}/{finding}": own["kappa"]}
        found |= {f"{KAPPA}/{finding} {end}": own[end] for end in ("low", "high")}
    return found


def rows(results: Results, shown: Sequence[Column] | None = None) -> list[Row]:
    """The table as printed cells, of the columns ``shown`` or of all; see `separated` for what is bold."""
    shown, tests = columns(results.values) if shown is None else shown, comparisons(results)
    best = {column.key: separated(results, column) for column in shown}
    against = references(results)
    return [
        Row(
            kind,
            arm,
            str(values["label"]),
            [_cell(values, column, tests, kind, arm, best[column.key], against.get(arm)) for column in shown],
        )
        for (kind, arm), values in wide(results).iterrows()
    ]


def separated(results: Results, column: Column) -> str | None:
    """The best arm of a column if it is apart from every other arm: the interval of the difference excludes 0, and so
    does the test where there is one. None else, and where the arms are of several runs."""
    table, tests = wide(results), comparisons(results)
    arms = "arm" in table.index.get_level_values("kind") and column.key in table
    if column.best is None or not arms or results.runs:
        return None
    values = table.loc["arm", column.key].dropna()
    if len(values) < 2:
        return None
    best = str(values.idxmax() if column.best == "max" else values.idxmin())
    others = [str(arm) for arm in values.index if arm != best]
    apart = all(tests.excludes_zero(best, arm, column) and tests.apart(best, arm, column) for arm in others)
    return best if apart else None


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


def _cell(
    values: pd.Series, column: Column, tests: Comparisons, kind: str, arm: str, best: str | None, against: str | None
) -> Cell:
    value, digits = values.get(column.key, math.nan), column.digits
    if pd.isna(value):
        return Cell("–")
    spread = bracket(values.get(f"{column.key} low"), values.get(f"{column.key} high"), digits)
    before = values.get(f"{column.metric}_before/{column.finding}", math.nan)
    own = kind == "arm"
    return Cell(
        _number(value, digits) + _whose(values, column.names),
        spread,
        "" if pd.isna(before) else _number(before, digits),
        bold=own and arm == best,
        mark=tests.mark(arm, against, column) if own else "",
        small=own and tests.too_small(arm, against, column.metric, column.finding),
    )


def _whose(values: pd.Series, metric: str) -> str:
    """Behind a number, the name under which ``metric`` is largest; empty where no metric is given or known."""
    known = {
        key.removeprefix(f"{metric}/"): value
        for key, value in values.items()
        if metric and key.startswith(f"{metric}/") and not key.endswith((" low", " high", "/mean")) and pd.notna(value)
    }
    return f" ({max(known, key=known.__getitem__)})" if known else ""


def bracket(low: float | None, high: float | None, digits: int) -> str:
    """An interval as it is printed, empty where there is none.

    >>> bracket(0.5, 1.0, 2)
    '[0.50, 1.00]'
    """
    return "" if pd.isna(low) or pd.isna(high) else f"[{_number(low, digits)}, {_number(high, digits)}]"


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def reference_arm(frame: pd.DataFrame) -> str | None:
    """The arm that others are compared with: ``sft`` (the control), else ``spd_mt``, else the first arm."""
    arms = list(arm_labels(frame))
    return next((name for name in REFERENCES if name in arms), arms[0] if arms else None)


def references(results: Results) -> dict[str, str]:
    """Arm to the arm that it is compared with, which is of the same run; the reference arms themselves are left out."""
    frame, found = results.values, {}
    for run in dict.fromkeys(results.runs.get(arm, "") for arm in arm_labels(frame)):
        own = [arm for arm in arm_labels(frame) if results.runs.get(arm, "") == run]
        plain = {arm.removeprefix(f"{run}/") if run else arm: arm for arm in own}
        against = plain[next((name for name in REFERENCES if name in plain), next(iter(plain)))]
        found |= {arm: against for arm in own if arm != against}
    return found


def differences(results: Results, against: str = "sft", metric: str | None = None) -> pd.DataFrame:
    """Mean of the measure (or of ``metric``) of each arm minus that of the arm ``against``, paired by study and seed.

    Returns one row an arm other than ``against``: ``label``, ``n`` (shared seeds), ``mean``, ``low``, ``high`` (95 %
    interval, NaN where there is none). Empty where there is no such arm or no other arm.
    """
    labels, metric = arm_labels(results.values), metric or measure(results.values)
    scored = set(results.values.loc[results.values["metric"] == metric, "arm"])
    found = []
    for arm in [arm for arm in labels if arm != against and {arm, against} <= scored & set(labels)]:
        mean, low, high, n = difference(results, arm, against, metric, "mean")
        found.append({"arm": arm, "label": labels[arm], "n": n, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(found, columns=["arm", "label", "n", "mean", "low", "high"]).set_index("arm")
