"""What tests.csv says of two arms: whether they are apart, and whether they could have been."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from apo_lightning.reports.columns import Column
from apo_lightning.reports.measured import Results

LEVELS = ((0.01, "**"), (0.05, "*"))
"""Below which corrected p a difference is marked, and how."""
ALPHA = LEVELS[-1][0]
MARKS = (
    "*: p < .05, **: p < .01, of the difference from the reference arm of that run, by a test that is paired by study "
    "(permutation of patients' answers; McNemar for one finding), corrected for all comparisons by Holm's method."
)
SMALL = "too small to compare"
TOO_SMALL = f"n/c, {SMALL}: with so few studies the test could not reach p < .05 however far apart the two arms were."


class Tested(NamedTuple):
    """``p`` is the largest corrected one of the tests of a pair, ``smallest`` the least that it could have been."""

    p: float
    smallest: float


class Tests:
    """The rows of tests.csv by pair, either way round."""

    def __init__(self, results: Results) -> None:
        self.results = results

    @cached_property
    def known(self) -> Mapping[tuple[str, ...], Tested]:
        """(arm, against, metric, finding) to what was found."""
        found: dict[tuple[str, ...], Tested] = {}
        table = self.results.tests
        smallest = table["smallest_p"] if "smallest_p" in table else table["p"] * math.nan
        for (arm, against, metric, finding, _), p, least in zip(table.index, table["p_holm"], smallest, strict=True):
            own = Tested(float(p), float(least))
            for pair in ((arm, against), (against, arm)):
                before = found.get((*pair, metric, finding), own)
                found[(*pair, metric, finding)] = Tested(*(_larger(a, b) for a, b in zip(before, own, strict=True)))
        return found

    def apart(self, arm: str, against: str, column: Column) -> bool:
        """False where a test was made and does not tell the two apart: the intervals alone do not suffice then."""
        found = self.known.get((arm, against, column.metric, column.finding))
        return found is None or found.p < ALPHA

    def too_small(self, arm: str, against: str | None, metric: str, finding: str) -> bool:
        """Whether no difference could have been found."""
        found = self.known.get((arm, str(against), metric, finding))
        return found is not None and found.smallest >= ALPHA

    def mark(self, arm: str, against: str | None, column: Column) -> str:
        """Stars of an arm's cell; empty for the reference arm and where nothing was tested."""
        found = self.known.get((arm, str(against), column.metric, column.finding))
        return next((sign for level, sign in LEVELS if found and found.p < level), "")


def _larger(a: float, b: float) -> float:
    """The larger of two, where NaN is the largest."""
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)
