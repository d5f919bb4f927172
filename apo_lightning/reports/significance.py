"""What tests.csv says of two arms: whether they are apart, and whether they could have been."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

import pandas as pd

from apo_lightning.metrics.paired import too_small
from apo_lightning.reports.columns import Column
from apo_lightning.reports.measured import Results

LEVELS = ((0.01, "**"), (0.05, "*"))
"""Below which corrected p a difference is marked, and how."""
ALPHA = LEVELS[-1][0]
MARKS = (
    "*: p < .05, **: p < .01, of the difference from {against}, by a test that is paired by study "
    "(permutation of patients' answers; McNemar for one finding), corrected for all comparisons by Holm's method."
)
TESTS = ("permutation", "mcnemar")
SMALL = "too small to compare"
TOO_SMALL = (
    f"n/c, {SMALL}: the two arms differ on so few patients or studies that the corrected test could not reach p < .05, "
    "however these had fallen."
)


class Compared(NamedTuple):
    """The largest corrected p of the tests of a pair, and whether they were too small to tell it apart."""

    p: float
    small: bool


class Comparisons:
    """The rows of tests.csv by pair, either way round."""

    def __init__(self, results: Results) -> None:
        self.results = results

    @cached_property
    def known(self) -> Mapping[tuple[str, ...], Compared]:
        """(arm, against, metric, finding) to what was found; of several tests of a pair the most cautious."""
        found: dict[tuple[str, ...], Compared] = {}
        table = self.results.tests
        small = _small(table, self.results.runs)
        for (arm, against, metric, finding, _), p, least in zip(table.index, table["p_holm"], small, strict=True):
            for pair in ((arm, against), (against, arm)):
                before = found.get((*pair, metric, finding), Compared(-math.inf, False))
                found[(*pair, metric, finding)] = Compared(_larger(before.p, float(p)), before.small or bool(least))
        return found

    @cached_property
    def intervals(self) -> Mapping[tuple[str, ...], tuple[float, float]]:
        """The ends of the interval of every difference, as the file has it: the later arm minus the earlier."""
        table = self.results.differences
        return dict(zip(table.index, zip(table["low"], table["high"], strict=True), strict=True))

    def excludes_zero(self, arm: str, against: str, column: Column) -> bool:
        """Whether the interval of the difference does; False where there is none."""
        place = (column.metric, column.finding)
        found = self.intervals.get((arm, against, *place)) or self.intervals.get((against, arm, *place))
        return found is not None and (found[0] > 0 or found[1] < 0)

    @cached_property
    def any_small(self) -> bool:
        return any(found.small for found in self.known.values())

    def apart(self, arm: str, against: str, column: Column) -> bool:
        """False where a test was made and does not tell the two apart: the intervals alone do not suffice then."""
        found = self.known.get((arm, against, column.metric, column.finding))
        return found is None or found.p < ALPHA

    def too_small(self, arm: str, against: str | None, metric: str, finding: str) -> bool:
        """Whether no difference could have been found."""
        found = self.known.get((arm, str(against), metric, finding))
        return found is not None and found.small

    def mark(self, arm: str, against: str | None, column: Column) -> str:
        """Stars of an arm's cell; empty for the reference arm and where nothing was tested."""
        found = self.known.get((arm, str(against), column.metric, column.finding))
        return next((sign for level, sign in LEVELS if found and found.p < level), "")


@lru_cache(maxsize=32)
def comparisons(results: Results) -> Comparisons:
    """Those of the results; remembered."""
    return Comparisons(results)


def _small(table: pd.DataFrame, runs: Mapping[str, str]) -> pd.Series:
    """For each row whether it was too small; families are what Holm's correction went over (`metrics.comparison`), in
    each run by itself. A finding without labels has no p and is none that could be larger."""
    names = table.index.to_frame(index=False)
    families = [names["metric"], names["test"], names["arm"].map(lambda arm: runs.get(arm, ""))]
    small = pd.Series(False, index=names.index)
    for (_, test, _), own in names.groupby(families, sort=False):
        rows = table.iloc[own.index]
        if test in TESTS:
            found = too_small(test, rows["n"].fillna(0).astype(int), rows["p"].astype(float))
            small.iloc[own.index] = found & rows["p"].notna().to_numpy()
    return small


def _larger(a: float, b: float) -> float:
    """The larger of two, where NaN is the largest."""
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)
