"""How far apart the arms of two runs are: differences of every measure with 95 % intervals, and their tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from apo_lightning.metrics.bootstrap import Interval, Resampled
from apo_lightning.metrics.comparison import compare
from apo_lightning.metrics.outcomes import Measure
from apo_lightning.metrics.paired import holm
from apo_lightning.metrics.probes import FILES, measured
from apo_lightning.reports.paired_runs import Pair, Side

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Difference:
    """A metric of the arm of a run minus that of the arm of the first run; of what was not tested, ``test`` is empty
    and both p are NaN. ``p_holm`` is corrected over all pairs, as in `metrics.comparison`."""

    pair: Pair
    metric: str
    finding: str
    interval: Interval
    test: str = ""
    p: float = math.nan
    p_holm: float = math.nan


def differences(pairs: Sequence[Pair]) -> list[Difference]:
    """Every metric that both arms of a pair have, in the order of the pairs."""
    found = [one for pair in pairs for rows in _measured(pair) for one in _of_rows(pair, rows)]
    families = [(one.metric, one.test) for one in found]
    for family in {each for each in families if each[1]}:
        places = [i for i, each in enumerate(families) if each == family]
        for i, p in zip(places, holm([found[i].p for i in places]), strict=True):
            found[i] = replace(found[i], p_holm=float(p))
    return found


def unasked(pair: Pair) -> list[str]:
    """Files of probes that only one of the two has, or that are of other studies in each."""
    return [name for name in FILES if any(_asked(pair, name)) and not _same(pair, name)]


def _measured(pair: Pair) -> Iterator[dict[str, dict[int, Measure]]]:
    """What both have measured, kind by kind: texts first, then the probes that were asked of the same studies."""
    sides = {BEFORE: pair.before, AFTER: pair.after}
    yield {key: {seed: pair.answered(side, seed) for seed in pair.seeds} for key, side in sides.items()}
    for name in FILES:
        if _same(pair, name):
            yield {key: {seed: _probe(side, seed, name) for seed in pair.seeds} for key, side in sides.items()}


def _probe(side: Side, seed: int, name: str) -> Measure:
    rows = side.files[seed][name]
    return measured(name, [rows[study] for study in sorted(rows)], side.as_read)


def _asked(pair: Pair, name: str) -> list[dict[str, tuple]]:
    """Of each side and seed what was asked, by study; nothing where it lacks the file."""
    files = [side.files[seed].get(name, {}) for side in (pair.before, pair.after) for seed in pair.seeds]
    return [
        {study: (row["truth"], row.get("progression"), row["patient"]) for study, row in rows.items()} for rows in files
    ]


def _same(pair: Pair, name: str) -> bool:
    first, *others = _asked(pair, name)
    return bool(first) and all(own == first for own in others)


def _of_rows(pair: Pair, rows: dict[str, dict[int, Measure]]) -> Iterator[Difference]:
    tests = {(one.metric, one.finding): one for one in compare(rows)}
    for (metric, finding), interval in Resampled(rows).differences(AFTER, BEFORE).items():
        test = tests.get((metric, finding))
        told = (test.test, test.p) if test else ("", math.nan)
        yield Difference(pair, metric, finding, interval, *told)
