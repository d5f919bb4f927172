"""Example studies: truth, image, what each teacher said, the preferred text, and what each arm's student said."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.reports.folder import (
    advice,
    as_written,
    is_there,
    newest_runs,
    read_json_list,
    read_jsonl,
    require_stage,
    stage_folders,
)
from apo_lightning.reports.shown import WITHHELD, withheld

ABSENT = "No example studies: the run folder has no samples/samples.json."
MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


@dataclass(frozen=True)
class Answer:
    """One text and who wrote it; ``verdict`` compares a student's findings with the truth."""

    who: str
    text: str
    verdict: str = ""


@dataclass
class Sample:
    """What is shown of one study. ``image`` is a data URI, ``image_path`` its path from the run folder, or None."""

    study: str
    truth: str
    labels: Mapping[str, int | None]
    report: str | None
    image: str | None
    image_path: str | None
    teachers: list[Answer] = field(default_factory=list)
    preferred: list[Answer] = field(default_factory=list)
    students: list[Answer] = field(default_factory=list)


def collect(
    run_folder: Path, manifest: Mapping[str, Any], labels: Mapping[str, str], count: int = 3
) -> tuple[list[Sample], str]:
    """The example studies of a run, and a sentence that says why there are none (empty where there are some).

    Args:
        run_folder: holds samples/samples.json and the arms' stage folders.
        manifest: with config.yaml it decides whether anything may be shown, see `shown.withheld`.
        labels: arm to label, in experiment order.
        count: how many studies.

    Raises:
        ArtifactError: a file is corrupt.
    """
    path = run_folder / "samples" / "samples.json"
    note = withheld(run_folder, manifest)
    if note.startswith(WITHHELD):
        return [], note
    if not is_there(path, run_folder):
        return [], ABSENT
    if note:
        return [], note
    entries = {str(_get(item, "study", path, run_folder)): item for item in read_json_list(path, run_folder)}
    answers = _by_arm(run_folder, "evaluate", "predictions.jsonl", labels)
    chosen = _choose(list(entries), answers, count)
    with as_written(path, run_folder):
        samples = [_sample(run_folder, study, entries[study]) for study in chosen]
    _add_texts(run_folder, samples, labels, answers)
    return samples, "" if samples else ABSENT


def _get(item: Mapping[str, Any], key: str, path: Path, run_folder: Path) -> Any:
    if key not in item:
        raise ArtifactError(f"{path} has an entry without '{key}'. {advice(path, run_folder)}")
    return item[key]


def _by_arm(run_folder: Path, stage: str, name: str, labels: Mapping[str, str]) -> dict[str, dict[str, dict]]:
    """Arm to study to the line of its first seed, in experiment order."""
    first: dict[str, Path] = {}
    for folder in newest_runs(run_folder, stage):
        if folder.arm in labels and require_stage(folder, run_folder) and is_there(folder.path / name, run_folder):
            first.setdefault(folder.arm, folder.path / name)
    read = {path.resolve(): read_jsonl(path, run_folder) for path in first.values()}
    return {
        arm: {str(_get(row, "study", first[arm], run_folder)): row for row in read[first[arm].resolve()]}
        for arm in labels
        if arm in first
    }


def _choose(studies: Sequence[str], answers: Mapping[str, Mapping[str, dict]], count: int) -> list[str]:
    """Studies on which the first and the last arm disagree, by id; then the first ids."""
    ordered = sorted(studies)
    arms = list(answers)
    differ = []
    if len(arms) > 1:
        first, last = answers[arms[0]], answers[arms[-1]]
        differ = [s for s in ordered if s in first and s in last and _said(first[s]) != _said(last[s])]
    return [*differ, *(study for study in ordered if study not in differ)][:count]


def _said(row: Mapping[str, Any]) -> tuple[bool, dict[str, int]]:
    """An answer as it is counted: an unstated finding is absent."""
    wrong = bool(row.get("refused")) or row.get("kind") == "nothing"
    return wrong, {name: int(value or 0) for name, value in (row.get("findings") or {}).items()}


def _sample(run_folder: Path, study: str, entry: Mapping[str, Any]) -> Sample:
    findings = entry.get("findings") or {}
    present = [name.replace("_", " ") for name, value in findings.items() if value == 1]
    unknown = [name.replace("_", " ") for name, value in findings.items() if value is None]
    truth = ", ".join(present) or "none of the findings"
    truth += f" (not labelled: {', '.join(unknown)})" if unknown else ""
    path = image_of(run_folder, entry)
    image = path and f"data:{MIME[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"
    report = entry.get("report")
    if not isinstance(report, str | None):
        raise TypeError(f"report of {study} is no text")
    return Sample(study, truth, findings, report, image, f"samples/{path.name}" if path else None)


def image_of(run_folder: Path, entry: Mapping[str, Any]) -> Path | None:
    """The image that an entry of samples.json names, None where there is none.

    Raises:
        ArtifactError: it is not what the run wrote.
    """
    name = Path(str(entry.get("image") or "")).name  # the name only: an entry must not reach outside the folder
    path = run_folder / "samples" / ("" if "\0" in name else name)
    return path if path.suffix.lower() in MIME and is_there(path, run_folder) else None


def _add_texts(
    run_folder: Path, samples: Sequence[Sample], labels: Mapping[str, str], answers: Mapping[str, Mapping[str, dict]]
) -> None:
    teachers = _teacher_texts(run_folder, {sample.study for sample in samples})
    preferred = _by_arm(run_folder, "self_distill", "preferred.jsonl", labels)
    for sample in samples:
        sample.teachers = teachers.get(sample.study, [])
        sample.preferred = _distinct(sample.study, preferred, labels)
        for arm, rows in answers.items():
            if sample.study in rows:
                row = rows[sample.study]
                sample.students.append(Answer(labels[arm], str(row.get("text", "")), verdict(row, sample.labels)))


def _teacher_texts(run_folder: Path, studies: set[str]) -> dict[str, list[Answer]]:
    """Study to what each teacher said; every stored file is read once, and the first text of a teacher is kept."""
    texts: dict[str, dict[str, Answer]] = {}
    read: set[Path] = set()
    for folder in stage_folders(run_folder, "collect"):
        path = folder.path / "trajectories.jsonl"
        require_stage(folder, run_folder)
        if path.resolve() in read or not is_there(path, run_folder):
            continue
        read.add(path.resolve())
        for row in read_jsonl(path, run_folder):
            study, teacher = str(_get(row, "study", path, run_folder)), str(_get(row, "teacher", path, run_folder))
            if study in studies:
                texts.setdefault(study, {}).setdefault(teacher, Answer(teacher, str(row.get("text", ""))))
    return {study: list(own.values()) for study, own in texts.items()}


def _distinct(study: str, preferred: Mapping[str, Mapping[str, dict]], labels: Mapping[str, str]) -> list[Answer]:
    """The preferred texts of a study, equal ones once, each with the arms that wrote or share it."""
    arms: dict[str, list[str]] = {}
    for arm, rows in preferred.items():
        if study in rows:
            arms.setdefault(str(rows[study].get("text", "")), []).append(labels[arm])
    return [Answer("shared by the arms" if len(arms) == 1 else ", ".join(names), text) for text, names in arms.items()]


def verdict(row: Mapping[str, Any], truth: Mapping[str, int | None]) -> str:
    """What the counting makes of an answer.

    >>> verdict({"findings": {"edema": 1, "pneumonia": None}, "refused": False}, {"edema": 0, "pneumonia": 0})
    'wrong on edema'
    """
    labelled = [name for name, value in truth.items() if value is not None]
    refused, said = _said(row)
    if refused:
        return "refused or unreadable: wrong on every labelled finding"
    wrong = [name.replace("_", " ") for name in labelled if said.get(name, 0) != int(truth[name])]
    return f"wrong on {', '.join(wrong)}" if wrong else "right on every labelled finding"
