"""Several runs side by side: their rows in one table, and what about their test sets is not the same."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from apo_lightning.errors import ArtifactError
from apo_lightning.hashing.contents import digest
from apo_lightning.reports import teacher_drift
from apo_lightning.reports.columns import findings, measure, title
from apo_lightning.reports.folder import is_there, read_manifest, read_settings
from apo_lightning.reports.measured import Results, load

FOLDER = "comparisons"
TRAINING = ("train", "val", "data_fraction", "fraction_by", "augment", "num_workers", "cache", "max_bad_share")
"""Data settings that leave the test split alone."""
ARMS = ("arm", "against")


@dataclass(frozen=True)
class Run:
    """One of the runs: its folder, the name that its rows are prefixed by, and what it says."""

    folder: Path
    name: str
    results: Results
    manifest: Mapping[str, Any]
    settings: Mapping[str, Any]
    truth: Mapping[str, Mapping[str, int]]

    @property
    def studies(self) -> set[str]:
        """Ids of the split that was evaluated, from splits.csv; of the answers where there is none."""
        path, split = self.folder / "splits.csv", self.manifest.get("split", "test")
        if not is_there(path, self.folder):
            return set(self.truth)
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            return {str(row.get("study")) for row in csv.DictReader(file) if row.get("split") == split}


def read(folders: Sequence[Path]) -> list[Run]:
    """The runs, under names that tell them apart.

    Raises:
        ArtifactError: a folder has no results, or two have none that could stand in one table.
    """
    names = _names(folders)
    runs = [
        Run(
            folder,
            name,
            load(folder),
            read_manifest(folder),
            read_settings(folder) or {},
            dict(teacher_drift.labels(folder)),
        )
        for folder, name in zip(folders, names, strict=True)
    ]
    first, *others = runs
    for run in others:
        own, theirs = measure(first.results.values), measure(run.results.values)
        shared = set(findings(first.results.values)) & set(findings(run.results.values))
        if own != theirs or not shared:
            what = "no finding in common" if own == theirs else f"other measures ({_said(first)}; {_said(run)})"
            raise ArtifactError(
                f"{first.folder} and {run.folder} have {what}, so that nothing of the two can stand side by side. "
                "Report each of them alone: apo report FOLDER."
            )
    return runs


def _said(run: Run) -> str:
    return title(run.results.values)


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many before it as tell them apart."""
    parts = [path.resolve().parts for path in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in folders]


def together(runs: Sequence[Run]) -> Results:
    """One set of tables, arms prefixed by their run. A teacher or baseline of equal values in two runs is one row, and
    bears no run's name where it is the same in all."""
    parts = [
        (run, kind, own, (kind, arm, digest(own.drop(columns="label").to_csv(index=False))))
        for run in runs
        for (kind, arm), own in run.results.values.groupby(["kind", "arm"], sort=False)
    ]
    times = Counter(key for *_, key in parts)
    values, same = [], set()
    for run, kind, own, key in parts:
        if kind == "arm" or key not in same:
            laid = _prefixed(own, run.name)
            values.append(laid.assign(label=own["label"]) if kind != "arm" and times[key] == len(runs) else laid)
        same.add(key)
    tables = [
        _laid([getattr(run.results, name) for run in runs], runs)
        for name in ("intervals", "differences", "tests", "agreement")
    ]
    arms = {f"{run.name}/{arm}": run.name for run in runs for arm in _arms(run)}
    return Results(pd.concat(values, ignore_index=True), *tables, runs=arms)


def _arms(run: Run) -> list[str]:
    frame = run.results.values
    return [str(arm) for arm in frame.loc[frame["kind"] == "arm", "arm"].unique()]


def _prefixed(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame.assign(arm=name + "/" + frame["arm"], label=name + ": " + frame["label"])


def _laid(tables: Sequence[pd.DataFrame], runs: Sequence[Run]) -> pd.DataFrame:
    """Tables that have arms in their index, one below the other."""
    index, laid = list(tables[0].index.names), []
    for table, run in zip(tables, runs, strict=True):
        flat = table.reset_index()
        laid.append(flat.assign(**{name: run.name + "/" + flat[name].astype(str) for name in ARMS if name in flat}))
    filled = [own for own in laid if len(own)] or laid[:1]
    return pd.concat(filled, ignore_index=True).set_index(index).sort_index()


def warnings(runs: Sequence[Run]) -> list[str]:
    """What keeps rows of two runs from being compared, each run beside the first."""
    return [sentence for run in runs[1:] for sentence in _differing(runs[0], run)]


def _differing(first: Run, run: Run) -> Iterator[str]:
    names, so = f"{first.name} and {run.name}", "do not compare their rows"
    citations = [str(own.manifest.get("citation", "not recorded")) for own in (first, run)]
    if citations[0] != citations[1]:
        yield f"{names} are of different data sets ({citations[0]}; {citations[1]}): {so}."
    own, theirs = first.studies, run.studies
    if own != theirs:
        yield (
            f"The test sets of {names} differ ({len(own):,} and {len(theirs):,} studies, {len(own & theirs):,} "
            f"shared): {so}."
        )
    elif any(first.truth[study] != run.truth[study] for study in first.truth.keys() & run.truth.keys()):
        yield f"The studies of {names} have the same names and other labels: {so}."
    elif not own:
        yield f"It is not recorded which studies {names} were tested on: compare their rows only if you know."
    yield from _other_findings(first, run)
    yield from _other_settings(first, run)


def _other_findings(first: Run, run: Run) -> Iterator[str]:
    own, theirs = (findings(each.results.values) for each in (first, run))
    only = [
        name.replace("_", " ")
        for name in {**dict.fromkeys(own), **dict.fromkeys(theirs)}
        if (name in own) != (name in theirs)
    ]
    if only:
        yield (
            f"{first.name} and {run.name} were measured on other findings (not in both: {', '.join(only)}): their "
            "means are means of other things."
        )


def _other_settings(first: Run, run: Run) -> Iterator[str]:
    """Settings of the data that the ids of studies do not show, such as how images are made."""
    own, theirs = (_data(each.settings) for each in (first, run))
    other = [
        f"{key} {own.get(key)} and {theirs.get(key)}"
        for key in sorted({*own, *theirs})
        if own.get(key) != theirs.get(key)
    ]
    if other and first.settings and run.settings:
        yield f"The data of {first.name} and {run.name} are set otherwise: {'; '.join(other)}."


def _data(settings: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    evaluate = settings.get("evaluate")
    further = evaluate.get("data") if isinstance(evaluate, Mapping) else None
    for place, section in (("data", settings.get("data")), ("evaluate.data", further)):
        if isinstance(section, Mapping):
            found |= {f"{place}.{key}": value for key, value in section.items() if key not in TRAINING}
    return found


def place(runs: Sequence[Run]) -> Path:
    """Where the page goes: beside the first run, in a folder named after all of them."""
    words = [re.sub(r"[^A-Za-z0-9._-]+", "-", run.name) for run in runs]
    name = "_vs_".join(words)
    if len(name) > 80:
        name = f"{name[:70]}-{digest(words)[:8]}"
    return runs[0].folder.resolve().parent / FOLDER / name
