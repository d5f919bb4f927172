"""Arms of two runs that answered the same studies: their measures beside each other, paired by study and seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from apo_lightning.metrics.answers import answered, text_outcomes
from apo_lightning.metrics.outcomes import Measure
from apo_lightning.metrics.probes import FILES
from apo_lightning.reports.compare import Run
from apo_lightning.reports.folder import is_there, require_stage, stage_folders
from apo_lightning.reports.studies import Rows, as_read, by_study, mapping, samples_of
from apo_lightning.types import Study

ANSWERS = "predictions"


@dataclass(frozen=True)
class Side:
    """The answers of one arm of a run.

    Attributes:
        files: seed to the name of a file of the evaluation (``predictions``, ``statements``) to its lines by study.
        as_read: makes of a text what is read of it.
    """

    run: str
    arm: str
    files: Mapping[int, Mapping[str, Rows]]
    as_read: Callable[[str], str]

    @property
    def name(self) -> str:
        return f"{self.run}/{self.arm}"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two arms that can be paired: what both answered, in one order of studies.

    Attributes:
        before, after: the arm of the first run, and that of the other.
        seeds: those that both have.
        studies: with the labels that both are compared with, on the findings that both were measured on.
    """

    before: Side
    after: Side
    seeds: Sequence[int]
    studies: Sequence[Study]

    @property
    def findings(self) -> list[str]:
        return list(self.studies[0].findings)

    @property
    def name(self) -> str:
        return f"{self.after.name} minus {self.before.name}"

    def text(self, side: Side, seed: int, study: str) -> str:
        return str(side.files[seed][ANSWERS][study].get("text", ""))

    def answered(self, side: Side, seed: int) -> Measure:
        """What is counted of the texts of a side."""
        return self._counted[side.name, seed]

    @cached_property
    def _counted(self) -> dict[tuple[str, int], Measure]:
        return {(side.name, seed): self._count(side, seed) for side in (self.before, self.after) for seed in self.seeds}

    def _count(self, side: Side, seed: int) -> Measure:
        texts = {study.id: side.as_read(self.text(side, seed, study.id)) for study in self.studies}
        return text_outcomes(texts, self.studies, self.findings)


def pairs(runs: Sequence[Run], arms: Sequence[str] = ()) -> tuple[list[Pair], list[str]]:
    """Arms of one name in the first run and in another; of runs without such a name, every arm of both.

    Args:
        runs: the first is what the others are held against.
        arms: only these; empty for all.

    Returns:
        what can be paired, and a sentence for everything that cannot.

    Raises:
        ArtifactError: a file is damaged.
    """
    found, notes = list[Pair](), list[str]()
    first, *others = [_sides(run, arms) for run in runs]
    for own in others:
        names = [name for name in first if name in own]
        chosen = [(name, name) for name in names] or [(a, b) for a in first for b in own]
        for one, other in chosen:
            pair = _pair(first[one], own[other])
            (notes if isinstance(pair, str) else found).append(pair)  # type: ignore[arg-type]
    return found, [f"{note} ({n} pairs)." if n > 1 else f"{note}." for note, n in Counter(notes).items()]


def _sides(run: Run, arms: Sequence[str]) -> dict[str, Side]:
    """Arm to its answers, in the order of the table."""
    known = [str(arm) for arm in run.results.values.query("kind == 'arm'")["arm"].unique()]
    read, samples = as_read(run.folder), samples_of(run.folder)
    files: dict[str, dict[int, dict[str, Rows]]] = {}
    for stage in stage_folders(run.folder, "evaluate"):
        if stage.arm in known and (not arms or stage.arm in arms):
            path = require_stage(stage, run.folder).path
            own = {name: _rows(path / f"{name}.jsonl", run.folder, samples) for name in (ANSWERS, *FILES)}
            if own[ANSWERS]:
                files.setdefault(stage.arm, {})[stage.seed] = {name: rows for name, rows in own.items() if rows}
    return {arm: Side(run.name, arm, files[arm], read) for arm in known if arm in files}


def _rows(path: Path, run_folder: Path, samples: Rows) -> Rows:
    """Lines by study; of an earlier version's, which have neither labels nor patients, the labels that the list of
    samples has, and every study is a patient of its own."""
    if not is_there(path, run_folder):
        return {}
    rows = by_study(path, run_folder)
    for study, row in rows.items():
        row.setdefault("patient", study)
        row["truth"] = mapping(row["truth"] if "truth" in row else samples.get(study, {}).get("findings"))
    return rows


def _pair(before: Side, after: Side) -> Pair | str:
    """The two, or why they cannot be paired."""
    between = f"{after.run} is not paired with {before.run}"
    seeds = sorted(set(before.files) & set(after.files))
    if not seeds:
        own, other = (", ".join(map(str, sorted(side.files))) for side in (before, after))
        return f"{between}: {before.arm} and {after.arm} have no seed in common ({own}; {other})"
    sides = [side.files[seed][ANSWERS] for side in (before, after) for seed in seeds]
    if any(rows.keys() != sides[0].keys() for rows in sides):
        theirs = after.files[seeds[0]][ANSWERS].keys()
        return f"{between}: their test sets differ ({len(sides[0])} and {len(theirs)} studies)"
    findings = [f for f in _findings(sides[0]) if all(f in _findings(rows) for rows in sides)]
    if not findings:
        return f"{between}: their answers have no labelled finding in common"
    told = [[_asked(row, findings) for _, row in sorted(rows.items())] for rows in sides]
    if any(own != told[0] for own in told):
        return f"{between}: their studies have the same names and other labels, or other patients"
    return Pair(before, after, seeds, [_study(sides[0][name], findings) for name in sides[0]])


def _findings(rows: Rows) -> dict[str, None]:
    return dict.fromkeys(name for row in rows.values() for name in row["truth"])


def _asked(row: Mapping[str, Any], findings: Sequence[str]) -> tuple[Any, ...]:
    labels = [row["truth"].get(name) for name in findings]
    return row["study"], row["patient"], labels, dict(mapping(row.get("progression")))


def _study(row: Mapping[str, Any], findings: Sequence[str]) -> Study:
    return answered({**row, "truth": {name: row["truth"].get(name) for name in findings}})
