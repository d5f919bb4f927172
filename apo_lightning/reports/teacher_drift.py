"""How right each teacher is along its reports and along the stream, on the studies whose labels a run has kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from apo_lightning.reports.folder import is_there, read_jsonl, require_stage, stage_folders
from apo_lightning.text.labeler import reading

STREAM, REPORT = "stream", "report"
PARTS = {STREAM: 5, REPORT: 3}
"""In how many parts of equal length each is cut."""
MOST = 14_000
"""Texts that are read; of more, every second, third, ... study."""
COLUMNS = ["teacher", "along", "part", "right", "n"]


def measure(run_folder: Path) -> pd.DataFrame:
    """Share of right statements by teacher and part.

    Along the stream every labelled finding counts, as in the table; along the report those that a sentence states, by
    the sentence's rank among those that state something.

    Returns:
        the columns COLUMNS, ``part`` from 0; empty where a run kept no labels, texts or times.

    Raises:
        ArtifactError: a stage is damaged.
    """
    truth = dict(labels(run_folder))
    rows = [row for row in _texts(run_folder) if row.get("study") in truth]
    step = -(-len(rows) // MOST) or 1
    kept = set(sorted({row["study"] for row in rows})[::step])
    lines = [line for row in rows if row["study"] in kept for line in _lines(row, truth[row["study"]])]
    found = pd.DataFrame(lines, columns=COLUMNS[:4])
    counted = found.groupby(COLUMNS[:3], sort=False)["right"].agg(["mean", "size"]).reset_index()
    return counted.set_axis(COLUMNS, axis=1)


def labels(run_folder: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Study to its labels, as they stand beside the answers of the first arm."""
    for folder in stage_folders(run_folder, "evaluate")[:1]:
        path = require_stage(folder, run_folder).path / "predictions.jsonl"
        for row in read_jsonl(path, run_folder) if is_there(path, run_folder) else []:
            truth = row.get("truth")
            if isinstance(truth, Mapping):
                yield str(row.get("study")), {name: int(v) for name, v in truth.items() if isinstance(v, int | float)}


def _texts(run_folder: Path) -> list[dict[str, Any]]:
    for folder in stage_folders(run_folder, "collect")[:1]:
        path = require_stage(folder, run_folder).path / "trajectories.jsonl"
        return read_jsonl(path, run_folder) if is_there(path, run_folder) else []
    return []


def _lines(row: Mapping[str, Any], truth: Mapping[str, int]) -> Iterable[tuple[str, str, int, bool]]:
    """(teacher, along what, part, right) of everything that a text says, or leaves out."""
    teacher = str(row.get("teacher"))
    read = reading(str(row.get("text", "")), tuple(truth))
    said: dict[str, float] = {}
    for rank, sentence in enumerate(read.stated):
        said |= sentence.values
        part = rank * PARTS[REPORT] // len(read.stated)
        for name in sentence.values.keys() & truth.keys():
            yield teacher, REPORT, part, sentence.values[name] == truth[name]
    t = row.get("t")
    if isinstance(t, int | float) and 0 <= t <= 1:
        part = min(int(t * PARTS[STREAM]), PARTS[STREAM] - 1)
        nothing = read.kind in ("refused", "nothing")
        for name, value in truth.items():
            yield teacher, STREAM, part, not nothing and said.get(name, 0.0) == value
