"""Reading a run folder and writing into it. Nothing here knows how a stage works, only what its files are called."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from apo_lightning.errors import ArtifactError


@dataclass(frozen=True)
class StageFolder:
    """One finished stage of one arm and seed. ``path`` is the link under the arm."""

    arm: str
    seed: int
    path: Path


def advice(path: Path, run_folder: Path) -> str:
    """What to do about a broken file: it can be made again, in a stage only with the whole stage."""
    stored, own = path.resolve(), run_folder.resolve()
    broken = stored if stored.parent in (own, own / "samples") else stored.parent
    return f"Delete {broken}, then run the experiment '{run_folder.name}' again: finished stages are not repeated."


def read_manifest(run_folder: Path) -> dict[str, Any]:
    """manifest.json as a mapping, empty where the file is missing. Raises ArtifactError when it is corrupt."""
    path = run_folder / "manifest.json"
    if not path.exists():
        return {}
    content = _json(path.read_text(encoding="utf-8", errors="replace"), path, run_folder)
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} must hold a JSON object, got {type(content).__name__}. {advice(path, run_folder)}")
    return content


def read_json_list(path: Path, run_folder: Path) -> list[dict[str, Any]]:
    """A JSON file that holds a list of objects. Raises ArtifactError when it is anything else."""
    content = _json(path.read_text(encoding="utf-8", errors="replace"), path, run_folder)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ArtifactError(f"{path} must hold a list of JSON objects. {advice(path, run_folder)}")
    return content


def read_jsonl(path: Path, run_folder: Path) -> list[dict[str, Any]]:
    """One object a line; a last line without its end (the writer was killed) is left out.

    Raises:
        ArtifactError: any other line is not a JSON object; names file and line.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    tail = lines.pop()
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    objects = [_json(line, path, run_folder, f" line {number}") for number, line in rows]
    for (number, _), item in zip(rows, objects, strict=True):
        if not isinstance(item, dict):
            raise ArtifactError(f"{path} line {number} must be a JSON object. {advice(path, run_folder)}")
    return objects + _complete(tail)


def _complete(tail: str) -> list[dict[str, Any]]:
    try:
        item = json.loads(tail)
    except json.JSONDecodeError:
        return []
    return [item] if isinstance(item, dict) else []


def _json(text: str, path: Path, run_folder: Path, where: str = "") -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        what = f"{path}{where} is not readable as JSON ({error.msg})"
        raise ArtifactError(f"{what}. {advice(path, run_folder)}") from error


def stage_folders(run_folder: Path, stage: str) -> list[StageFolder]:
    """The folders of one stage over all arms and seeds, sorted; links that lead nowhere are left out."""
    found = []
    for path in run_folder.glob(f"*/seed*/{stage}"):
        number = path.parent.name.removeprefix("seed")
        if number.isdigit() and path.is_dir():
            found.append(StageFolder(path.parent.parent.name, int(number), path))
    return sorted(found, key=lambda item: (item.arm, item.seed))


def read_metrics(run_folder: Path, stage: str, labels: Mapping[str, str]) -> pd.DataFrame:
    """metrics.jsonl of one stage, one row a step: arm, label, seed, run, step, and a column a metric.

    ``labels`` maps arm to label and gives the order; other arms are left out. ``run`` is the name of the stored
    folder, the same for arms that share it. A step that was written twice (a resumed run) keeps its last values.
    """
    tables = []
    for folder in stage_folders(run_folder, stage):
        path = folder.path / "metrics.jsonl"
        if folder.arm not in labels or not path.is_file():
            continue
        rows = [row for row in read_jsonl(path, run_folder) if "step" in row]
        if rows:
            steps = pd.DataFrame(rows).groupby("step", as_index=False).last()
            steps.insert(0, "run", folder.path.resolve().name)
            steps.insert(0, "seed", folder.seed)
            steps.insert(0, "label", labels[folder.arm])
            steps.insert(0, "arm", folder.arm)
            tables.append(steps)
    order = list(labels)
    tables.sort(key=lambda table: (order.index(table["arm"].iat[0]), table["seed"].iat[0]))
    return (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=["arm", "label", "seed", "run", "step"])
    )


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write under a temporary name and rename, so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
