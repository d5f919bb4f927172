"""Runs compared: what differs in their settings, how far apart their arms are, and which answers changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from apo_lightning import reports
from apo_lightning.errors import ArtifactError, ConfigError, did_you_mean
from apo_lightning.reports import (
    changed_answers,
    compare,
    compared_tables,
    paired_differences,
    paired_runs,
    render,
    settings_changes,
    shown,
    spreadsheet,
)
from apo_lightning.reports.changed_answers import Changed
from apo_lightning.reports.folder import write_atomic
from apo_lightning.reports.page import Beside, Report
from apo_lightning.reports.paired_differences import Difference
from apo_lightning.reports.paired_runs import Pair
from apo_lightning.reports.settings_changes import Change
from apo_lightning.reports.table import arm_labels

SHOWN = 30
"""Changed answers that the page shows; the CSV has all of them."""
WITHHELD = (
    "Studies and texts are not shown, and changed.csv is not written: {runs} of a data set that comes under a data use "
    "agreement (credentialed), or of which it is not known whether it does. {how}"
)
FILES = ("settings.csv", "metrics.csv", "paired.csv", "changed.csv", "compare.html")


@dataclass(frozen=True)
class Comparison:
    """Everything that is known of several runs, each beside the first.

    Attributes:
        runs: the first is what the others are held against.
        withheld: why no text may be shown; empty where they may.
    """

    runs: Sequence[compare.Run]
    settings: Sequence[Change]
    pairs: Sequence[Pair]
    differences: Sequence[Difference]
    changed: Sequence[Changed]
    notes: Sequence[str]
    withheld: str = ""

    @property
    def shown(self) -> Sequence[Changed]:
        """Changed answers whose texts may be shown."""
        return () if self.withheld else self.changed


def read(folders: Sequence[Path], arms: Sequence[str] = ()) -> Comparison:
    """
    Args:
        folders: run folders, at least two.
        arms: names of those that are compared; empty for all.

    Raises:
        ArtifactError: a run has no results, a file is corrupt, or nothing of two runs can stand side by side.
        ConfigError: a run has no arm of such a name.
    """
    if len(folders) < 2:
        raise ConfigError(f"compare needs two runs or more, got {len(folders)}. One alone: apo report RUN.")
    runs = [_chosen(run, arms) for run in compare.read(folders)]
    pairs, notes = paired_runs.pairs(runs, arms)
    first, *others = runs
    guarded = [run for run in runs if shown.withheld(run.folder, run.manifest)]
    return Comparison(
        runs,
        [change for run in others for change in settings_changes.changes(first, run)],
        pairs,
        paired_differences.differences(pairs),
        changed_answers.changed(pairs),
        [*(note for run in others for note in settings_changes.notes(first, run)), *notes, *_unasked(pairs)],
        _withheld(guarded) if guarded else "",
    )


def _withheld(guarded: Sequence[compare.Run]) -> str:
    """Which runs these are, and what shows them."""
    named = [run.name for run in guarded]
    who = f"{' and '.join(filter(None, (', '.join(named[:-1]), named[-1])))} {'is' if len(named) == 1 else 'are'}"
    sets = dict.fromkeys(name for run in guarded for name in shown.names(run.folder, run.manifest))
    known = [name for name in sets if name != shown.NAME] or list(sets)
    return WITHHELD.format(runs=who, how=shown.HOW.format(names=", ".join(known)))


def _chosen(run: compare.Run, arms: Sequence[str]) -> compare.Run:
    """The run with the rows and settings of these arms alone."""
    known = list(arm_labels(run.results.values))
    for arm in arms:
        if arm not in known:
            raise ConfigError(f"--arm: {run.folder} has no arm '{arm}'. {did_you_mean(arm, known)}")
    if not arms:
        return run
    frame = run.results.values
    kept = frame[(frame["kind"] != "arm") | frame["arm"].isin(arms)].reset_index(drop=True)
    sections = {name: own for name, own in (run.settings.get("arms") or {}).items() if name in arms}
    return replace(run, results=replace(run.results, values=kept), settings={**run.settings, "arms": sections})


def _unasked(pairs: Sequence[Pair]) -> list[str]:
    found = [(pair.name, paired_differences.unasked(pair)) for pair in pairs]
    return [
        f"{name}: {', '.join(files)} not paired, which are not of the same studies." for name, files in found if files
    ]


def write(found: Comparison, folder: Path | None = None) -> Path:
    """Write compare.html and the tables that it is made of (`FILES`), each atomically.

    Args:
        found: what was read.
        folder: where to; None: beside the first run, in ``comparisons/``, in a folder that bears all names.

    Returns:
        the path of compare.html.
    """
    folder = Path(folder) if folder else compare.place(found.runs)
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(
            f"{folder} is no folder, so the comparison cannot be written there. Name another: --out FOLDER."
        )
    page = report(found)
    html = render.html(page)
    compared_tables.write_settings(folder / "settings.csv", found.settings)
    spreadsheet.write(folder / "metrics.csv", page.results, page.groups)
    compared_tables.write_paired(folder / "paired.csv", found.differences)
    if found.withheld:
        (folder / "changed.csv").unlink(missing_ok=True)
    else:
        changed_answers.write(folder / "changed.csv", found.changed)
    write_atomic(folder / "compare.html", html)
    return folder / "compare.html"


def report(found: Comparison) -> Report:
    """The page of several runs side by side, without its figures, and what is told of their differences."""
    page, tables = reports.several(found.runs), compared_tables
    beside = Beside(
        settings=tables.settings(found.settings, found.runs[0].name) if found.settings else None,
        paired=tables.paired(found.differences, page.results.values),
        fixed=[tables.fixed(found.pairs, found.changed)] if found.pairs else [],
        changed=found.shown[:SHOWN],
        total=len(found.changed),
        withheld=found.withheld,
    )
    return replace(page, notes=[*page.notes[:-1], *found.notes, page.notes[-1]], beside=beside)
