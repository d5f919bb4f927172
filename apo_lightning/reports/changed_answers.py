"""Answers that changed between two runs, study by study: what is right now and was not, and the reverse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apo_lightning.files.formats import write_csv
from apo_lightning.reports.paired_runs import ANSWERS, Pair

HEAD = (
    "run", "arm", "against_run", "against_arm", "seed", "study", "patient", "changed", "fixed", "broken", "other",
    "before", "after", "finish_before", "finish_after", "images",
)  # fmt: skip


@dataclass(frozen=True)
class Changed:
    """One study that two arms answered otherwise, in one seed.

    Attributes:
        fixed: findings that the earlier answer has wrong and this one right; ``broken``: the reverse.
        other: findings that are read otherwise and neither: without a label, or wrong both times, as a refusal and
            an error are.
        before, after: the two texts.
    """

    pair: Pair
    seed: int
    study: str
    fixed: tuple[str, ...]
    broken: tuple[str, ...]
    other: tuple[str, ...]
    before: str
    after: str

    @property
    def count(self) -> int:
        """Findings of which the answer became right or wrong."""
        return len(self.fixed) + len(self.broken)


def changed(pairs: Sequence[Pair]) -> list[Changed]:
    """All of them, the most changed first: by findings that became right or wrong, then by others, then by study."""
    found = [one for pair in pairs for seed in pair.seeds for one in _of_seed(pair, seed)]
    return sorted(found, key=lambda one: (-one.count, -len(one.other), one.study, one.seed))


def by_finding(pair: Pair, found: Sequence[Changed]) -> dict[str, tuple[int, int]]:
    """Finding to how many answers of a pair are fixed and how many broken, over studies and seeds."""
    own = [one for one in found if one.pair is pair]
    fixed, broken = (Counter(name for one in own for name in getattr(one, how)) for how in ("fixed", "broken"))
    return {name: (fixed[name], broken[name]) for name in _compared(pair)}


def write(path: Path, found: Sequence[Changed]) -> Path:
    """All of them as CSV: names and lists of findings by semicolons, texts, why each answer ended and the images,
    where the run has kept these."""
    return write_csv(path, HEAD, map(_line, found))


def _line(one: Changed) -> list[Any]:
    pair, rows = one.pair, [_row(one, side) for side in (one.pair.before, one.pair.after)]
    lists = [";".join(names) for names in (one.fixed, one.broken, one.other)]
    place = [pair.after.run, pair.after.arm, pair.before.run, pair.before.arm, one.seed, one.study]
    finish = [row.get("finish", "") for row in rows]
    images = ";".join(map(str, rows[1].get("images") or rows[0].get("images") or ()))
    return [*place, rows[0]["patient"], one.count, *lists, one.before, one.after, *finish, images]


def _row(one: Changed, side: Any) -> Mapping[str, Any]:
    return side.files[one.seed][ANSWERS][one.study]


def _compared(pair: Pair) -> list[str]:
    correct = pair.answered(pair.before, pair.seeds[0]).correct()
    return list(correct.findings) if correct else []


def _of_seed(pair: Pair, seed: int) -> Iterator[Changed]:
    measures = [pair.answered(side, seed) for side in (pair.before, pair.after)]
    one, other = (measure.correct() for measure in measures)
    if one is None or other is None or not one.asks_as(other):
        return
    # Where courses are asked for, only the studies that are labelled with them are counted.
    counted = [study for study in pair.studies if study.progression] or list(pair.studies)
    gain = np.where(one.labelled > 0, other.right - one.right, 0)
    moved = _said(measures[0]) != _said(measures[1])
    for number, study in enumerate(counted):
        ways = (gain[number] > 0, gain[number] < 0, moved[number] & (gain[number] == 0))
        fixed, broken, rest = (tuple(np.array(one.findings)[way].tolist()) for way in ways)
        if fixed or broken or rest:
            texts = (pair.text(side, seed, study.id) for side in (pair.before, pair.after))
            yield Changed(pair, seed, study.id, fixed, broken, rest, *texts)


def _said(measure: Any) -> np.ndarray:
    return np.asarray(measure.said)
