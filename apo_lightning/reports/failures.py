"""What the callback failure_signatures warned of while stages trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo_lightning.reports.folder import is_there, read_json_list, stage_folders

NAME = "failures.json"
STAGES = ("spd", "self_distill", "apo")


@dataclass(frozen=True)
class Failure:
    """One warning: where it was given, its signature, step, plain words, and what to change."""

    where: str
    signature: str
    step: str
    warning: str
    advice: str


def read(run_folder: Path, labels: Mapping[str, str]) -> list[Failure]:
    """In the order of the arms; a stage that arms share warns once.

    Raises:
        ArtifactError: a file is corrupt.
    """
    found: dict[Path, list[str]] = {}
    for stage in STAGES:
        ours = [folder for folder in stage_folders(run_folder, stage) if folder.arm in labels]
        for folder in sorted(ours, key=lambda folder: list(labels).index(folder.arm)):
            if is_there(folder.path / NAME, run_folder):
                where = f"{labels[folder.arm]}, seed {folder.seed}: {stage}"
                found.setdefault(folder.path.resolve(), [str(folder.path)]).append(where)
    return [
        _failure("; ".join(where), entry)
        for first, *where in found.values()
        for entry in read_json_list(Path(first) / NAME, run_folder)
    ]


def _failure(where: str, entry: Mapping[str, Any]) -> Failure:
    value, threshold = entry.get("value"), entry.get("threshold")
    numbers = f" ({_number(value)}, threshold {_number(threshold)})" if value is not None else ""
    step = entry.get("step")
    return Failure(
        where,
        str(entry.get("signature", "")).replace("_", " "),
        "" if step is None else str(step),
        f"{entry.get('warning', '')}{numbers}",
        str(entry.get("advice") or ""),
    )


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
