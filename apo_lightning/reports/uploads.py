"""What of a run folder goes up to W&B: its tables, its figures and, where they may be shown, its example studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import wandb

from apo_lightning.reports import samples
from apo_lightning.reports import table as results
from apo_lightning.reports.folder import own, read_manifest
from apo_lightning.reports.measured import load

CSV = ("intervals", "differences", "tests", "agreement")
"""Tables that go up as they lie in the folder, besides the one that the report prints."""
SHOWN = 12
"""Example studies."""


def gather(run_folder: Path) -> dict[str, Any]:
    """Everything that is logged, by its name in W&B: ``tables/*``, ``figures/*``, and ``studies``.

    Studies are those of the report's examples (`samples.collect`): of a guarded set without the acknowledgement there
    are none, neither texts nor images.

    Raises:
        ArtifactError: a file of the run folder is missing or damaged.
    """
    run_folder = Path(run_folder)
    found: dict[str, Any] = {f"tables/{name}": _table(frame) for name, frame in _frames(run_folder)}
    found |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in sorted(run_folder.glob("figures/*.png"))}
    if (studies := _studies(run_folder)) is not None:
        found["studies"] = studies
    return found


def _frames(run_folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    measured = load(run_folder)
    yield "results", results.wide(measured).reset_index()
    for name in CSV:
        if (path := own(run_folder / f"{name}.csv", run_folder)).is_file():
            yield name, pd.read_csv(path)
    for path in sorted(run_folder.glob("sets/*/results.csv")):
        yield f"sets/{path.parent.name}", results.wide(load(path.parent)).reset_index()


def _table(frame: pd.DataFrame) -> wandb.Table:
    """W&B keeps one type a column, so that what is neither a number nor missing is text."""
    texts = frame.select_dtypes(exclude="number").columns
    return wandb.Table(dataframe=frame.astype(dict.fromkeys(texts, str)))


def _studies(run_folder: Path) -> wandb.Table | None:
    """One row per study; None where nothing may be shown, or nothing is there."""
    labels = results.arm_labels(load(run_folder).values)
    shown, _ = samples.collect(run_folder, read_manifest(run_folder), labels, count=SHOWN)
    rows = [_row(sample, run_folder) for sample in shown]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return wandb.Table(columns=columns, data=[[row.get(name) for name in columns] for row in rows]) if rows else None


def _row(sample: samples.Sample, run_folder: Path) -> Mapping[str, Any]:
    image = wandb.Image(str(run_folder / sample.image_path)) if sample.image_path else None
    who = {f"teacher {answer.who}": answer.text for answer in sample.teachers}
    who |= {"t+" if len(sample.preferred) == 1 else f"t+ {answer.who}": answer.text for answer in sample.preferred}
    for answer in sample.students:
        who |= {answer.who: answer.text, f"{answer.who}, read": answer.verdict}
    return {"study": sample.study, "image": image, "present": sample.truth, "reference report": sample.report, **who}
