"""Tables of a comparison of runs: settings, paired differences, answers that became right or wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from apo_lightning.files.formats import write_csv
from apo_lightning.reports.changed_answers import Changed, by_finding
from apo_lightning.reports.columns import Column, each, kinds, measure
from apo_lightning.reports.drift_tables import DriftTable
from apo_lightning.reports.paired_differences import Difference
from apo_lightning.reports.paired_runs import Pair
from apo_lightning.reports.sentences import signed
from apo_lightning.reports.settings_changes import Change
from apo_lightning.reports.significance import LEVELS
from apo_lightning.reports.table import Cell

LONG = 100
"""Characters of a value that a table shows."""
PAIRED = ("run_arm", "against", "metric", "finding", "value", "low", "high", "seeds", "studies", "patients")
NOTE = (
    "Below each difference its 95 % interval, of a bootstrap over patients that draws both arms alike. *: p < .05, "
    "**: p < .01, paired by study (permutation of patients' answers; McNemar for one finding), corrected for all pairs "
    "by Holm's method."
)


def settings(found: Sequence[Change], first: str) -> DriftTable:
    """A row a key and set of arms."""
    rows = [
        (one.key, [Cell(", ".join(one.arms) or "all"), Cell(one.run), *map(_short, (one.before, one.after))])
        for one in found
    ]
    return DriftTable("settings", "Settings", "", ["arms", "run", f"in {first}", "in that run"], rows)


def _short(text: str) -> Cell:
    return Cell(text if len(text) <= LONG else f"{text[:LONG]}...")


def write_settings(path: Path, found: Sequence[Change]) -> Path:
    """Every change in whole: run, key, arms by semicolons (empty: all that both runs have), and the two values."""
    rows = ([one.run, one.key, ";".join(one.arms), one.before, one.after] for one in found)
    return write_csv(path, ["run", "key", "arms", "before", "after"], rows)


def paired(found: Sequence[Difference], frame: pd.DataFrame) -> list[DriftTable]:
    """A table of means for each way of measuring, and one of the measure on each finding; a row a pair of arms.

    Args:
        found: differences of all pairs.
        frame: results of the runs, which say what columns there are.
    """
    known = {(one.metric, one.finding) for one in found}
    of_findings = ("findings", "Each finding", each(frame, measure(frame)))
    first, *others = [(kind.name, kind.title, kind.columns) for kind in kinds(frame)]
    made = []
    for name, title, shown in (first, of_findings, *others):
        own = [column for column in shown if (column.metric, column.finding) in known]
        made += [_paired(f"paired-{name}", title, own, found)] if own else []
    return made


def _paired(name: str, title: str, shown: Sequence[Column], found: Sequence[Difference]) -> DriftTable:
    cells = {(one.pair, one.metric, one.finding): cell(one) for one in found}
    rows = [
        (pair.name, [cells.get((pair, column.metric, column.finding), Cell("–")) for column in shown])
        for pair in dict.fromkeys(one.pair for one in found)
    ]
    return DriftTable(name, title, NOTE, [column.title for column in shown], rows)


def cell(one: Difference) -> Cell:
    """A difference with its sign, interval and stars."""
    if math.isnan(one.interval.value):
        return Cell("–")
    mark = next((sign for level, sign in LEVELS if one.p_holm < level), "")
    return signed(one.interval.value, one.interval.low, one.interval.high, mark)


def write_paired(path: Path, found: Sequence[Difference]) -> Path:
    """Every metric of every pair, with the test where one was made."""
    rows = (
        [
            one.pair.after.name,
            one.pair.before.name,
            one.metric,
            one.finding,
            *(_number(getattr(one.interval, name)) for name in PAIRED[4:]),
            one.test,
            *map(_number, (one.p, one.p_holm)),
        ]
        for one in found
    )
    return write_csv(path, [*PAIRED, "test", "p", "p_holm"], rows)


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def fixed(pairs: Sequence[Pair], found: Sequence[Changed]) -> DriftTable:
    """How many answers of each pair became right and wrong, by finding, over studies and seeds."""
    counts = {pair: by_finding(pair, found) for pair in pairs}
    findings = list(dict.fromkeys(name for own in counts.values() for name in own))
    rows = [
        (pair.name, [_moved(total(own)), *(_moved(own.get(name)) for name in findings)]) for pair, own in counts.items()
    ]
    heads = ["all findings", *(name.replace("_", " ") for name in findings)]
    return DriftTable("fixed", "Fixed (+) and broken (−)", "Answers of all common seeds.", heads, rows)


def total(counts: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Fixed and broken over all findings."""
    better, worse = (sum(own[i] for own in counts.values()) for i in (0, 1))
    return better, worse


def _moved(own: tuple[int, int] | None) -> Cell:
    return Cell("–" if own is None else f"+{own[0]} −{own[1]}")
