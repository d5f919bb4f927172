"""What stages were warned of while they trained (callback failure_signatures), and what answers showed at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo_lightning.reports.folder import is_there, read_json_list, stage_folders, stage_names

NAME = "failures.json"


@dataclass(frozen=True)
class Failure:
    """One warning: where it was given, its signature, step, plain words, and what to change."""

    where: str
    signature: str
    step: str
    warning: str
    advice: str

    @property
    def place(self) -> str:
        """Where and when."""
        return f"{self.where}, step {self.step}" if self.step else self.where


@dataclass(frozen=True)
class Kind:
    """Warnings with one signature and one advice."""

    signature: str
    advice: str
    failures: Sequence[Failure]

    @property
    def title(self) -> str:
        """With how often it was given, where that was more than once."""
        times = len(self.failures)
        return f"{self.signature} ({times} times)" if times > 1 else self.signature


def grouped(failures: Sequence[Failure]) -> list[Kind]:
    """In order of their first appearance: what to change is said once, however many stages were warned."""
    kinds: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        kinds.setdefault((failure.signature, failure.advice), []).append(failure)
    return [Kind(*key, own) for key, own in kinds.items()]


def read(run_folder: Path, labels: Mapping[str, str]) -> list[Failure]:
    """In the order of the arms; a stage that arms share warns once.

    Raises:
        ArtifactError: a file is corrupt.
    """
    found: dict[Path, list[str]] = {}
    for stage in stage_names(run_folder):
        ours = [folder for folder in stage_folders(run_folder, stage) if folder.arm in labels]
        for folder in sorted(ours, key=lambda folder: list(labels).index(folder.arm)):
            if is_there(folder.path / NAME, run_folder):
                where = f"{labels[folder.arm]}, seed {folder.seed}: {stage}"
                found.setdefault(folder.path.resolve(), [str(folder.path)]).append(where)
    trained = [
        _failure("; ".join(where), entry)
        for first, *where in found.values()
        for entry in read_json_list(Path(first) / NAME, run_folder)
    ]
    return [*trained, *_of_answers(run_folder, labels)]


def _of_answers(run_folder: Path, labels: Mapping[str, str]) -> list[Failure]:
    """What the run found between the answers of its arms; each entry names its arm, seed and stage."""
    path = run_folder / NAME
    entries = read_json_list(path, run_folder) if is_there(path, run_folder) else []
    return [
        _failure(f"{labels[str(own.get('arm'))]}, seed {own.get('seed')}: {own.get('stage')}", own)
        for own in entries
        if str(own.get("arm")) in labels
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
