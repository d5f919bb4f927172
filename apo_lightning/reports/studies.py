"""What a run folder holds of every tested study: labels, texts and who wrote them, likelihoods. Only files are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.reports.folder import (
    FinishedStage,
    advice,
    is_there,
    newest_runs,
    read_json_list,
    read_jsonl,
    read_settings,
    require_stage,
    stage_folders,
    stage_names,
)
from apo_lightning.settings import rounds

Rows = dict[str, dict[str, Any]]
"""Study to its line of a file."""


@dataclass(frozen=True)
class Author:
    """Who wrote texts.

    Attributes:
        key: names it in the address of the page.
        kind: teacher, preferred (t+) or arm.
        label: as it is shown.
        seed: of an arm or a t+, None for a teacher.
        rows: study to the line that holds its text.
        likelihoods: study to finding to the probability of present.
        before: key of the arm that this one's preference stage began with; "" where there is none.
        preferred: key of the t+ that the arm learned from; "" where there is none.
    """

    key: str
    kind: str
    label: str
    seed: int | None = None
    rows: Rows = field(default_factory=dict)
    likelihoods: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    before: str = ""
    preferred: str = ""


@dataclass(frozen=True)
class Tested:
    """Everything that is known of the studies that the arms answered.

    Attributes:
        truth: study to finding to its label: 1, 0 or None, or the course of the finding.
        course: the labels are courses (improving, stable, worsening).
        patients: study to patient, where it is known.
        entries: study to its entry in samples.json (image, report), for some.
    """

    findings: tuple[str, ...]
    truth: Mapping[str, Mapping[str, Any]]
    course: bool
    patients: Mapping[str, str]
    entries: Rows
    teachers: tuple[Author, ...]
    preferred: tuple[Author, ...]
    arms: tuple[Author, ...]


def gather(run_folder: Path, labels: Mapping[str, str]) -> Tested:
    """The studies of the first seed of every arm.

    Args:
        labels: arm to label, in experiment order; other arms are left out.

    Raises:
        ArtifactError: a file is corrupt or leads out of the run folder.
    """
    entries = samples_of(run_folder)
    answers = _of_stage(run_folder, "evaluate", "predictions.jsonl", labels)
    rows: Rows = {}
    for _, _, own in answers.values():
        rows |= {study: row for study, row in own.items() if study not in rows}
    rows = rows or {study: {} for study in entries}
    course = any(mapping(row.get("progression")) for row in rows.values())
    truth = {study: _labels(row, entries.get(study, {}), course) for study, row in rows.items()}
    truth = {study: own for study, own in truth.items() if own or not course}
    written = _of_stage(run_folder, "self_distill", "preferred.jsonl", labels)
    preferred = _preferred(written, labels, truth)
    return Tested(
        findings=tuple(dict.fromkeys(name for own in truth.values() for name in own)),
        truth=truth,
        course=course,
        entries=entries,
        patients={study: str(rows[study]["patient"]) for study in truth if rows[study].get("patient") is not None},
        teachers=tuple(_teachers(run_folder, truth)),
        preferred=tuple(preferred.values()),
        arms=tuple(_arms(run_folder, answers, labels, preferred)),
    )


def samples_of(run_folder: Path) -> Rows:
    """Study to its entry in samples.json; empty where there is none.

    Raises:
        ArtifactError: it is corrupt.
    """
    path = run_folder / "samples" / "samples.json"
    if not is_there(path, run_folder):
        return {}
    return {str(get(item, "study", path, run_folder)): item for item in read_json_list(path, run_folder)}


def get(item: Mapping[str, Any], key: str, path: Path, run_folder: Path) -> Any:
    """What a line must have. Raises ArtifactError where it lacks it."""
    if key not in item:
        raise ArtifactError(f"{path} has an entry without '{key}'. {advice(path, run_folder)}")
    return item[key]


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it maps names to something, else nothing: files may come from other versions."""
    return value if isinstance(value, Mapping) else {}


def _labels(row: Mapping[str, Any], entry: Mapping[str, Any], course: bool) -> Mapping[str, Any]:
    """Beside the answer, or, where an earlier version wrote that, in the list of samples."""
    if course:
        return {str(name): str(value) for name, value in mapping(row.get("progression")).items()}
    known = mapping(row["truth"] if "truth" in row else entry.get("findings"))
    asked = {**dict.fromkeys(mapping(row.get("findings"))), **known}
    return {str(name): value if value in (0, 1) else None for name, value in asked.items()}


def _of_stage(
    run_folder: Path, stage: str, name: str, labels: Mapping[str, str]
) -> dict[str, tuple[FinishedStage, Path, Rows]]:
    """Arm to the stage of its first seed that holds the file, in experiment order; shared ones are read once."""
    first: dict[str, FinishedStage] = {}
    for folder in newest_runs(run_folder, stage):
        if folder.arm in labels and require_stage(folder, run_folder) and is_there(folder.path / name, run_folder):
            first.setdefault(folder.arm, folder)
    read: dict[Path, Rows] = {}
    for folder in first.values():
        path = folder.path / name
        if path.resolve() not in read:
            read[path.resolve()] = by_study(path, run_folder)
    ordered = {arm: first[arm] for arm in labels if arm in first}
    found = {arm: (folder, (folder.path / name).resolve()) for arm, folder in ordered.items()}
    return {arm: (folder, path, read[path]) for arm, (folder, path) in found.items()}


def as_read(run_folder: Path) -> Callable[[str], str]:
    """How the run read texts: with what is thought, or without."""
    from apo_lightning.text.thinking import ThinkingPolicy

    settings = mapping((read_settings(run_folder) or {}).get("thinking"))
    return ThinkingPolicy(judged=settings.get("judged") is True).as_read


def by_study(path: Path, run_folder: Path) -> Rows:
    """A file of one line per study. Raises ArtifactError where it is corrupt."""
    return {str(get(row, "study", path, run_folder)): row for row in read_jsonl(path, run_folder)}


def _teachers(run_folder: Path, studies: Mapping[str, Any]) -> Iterator[Author]:
    """What each teacher said of the studies; every stored file is read once, the first text of a teacher is kept."""
    rows: dict[str, Rows] = {}
    read: set[Path] = set()
    for folder in stage_folders(run_folder, "collect"):
        path = require_stage(folder, run_folder).path / "trajectories.jsonl"
        if path.resolve() in read or not is_there(path, run_folder):
            continue
        read.add(path.resolve())
        for row in read_jsonl(path, run_folder):
            study, teacher = (str(get(row, key, path, run_folder)) for key in ("study", "teacher"))
            if study in studies:
                rows.setdefault(teacher, {}).setdefault(study, row)
    return (Author(f"teacher:{name}", "teacher", name, rows=own) for name, own in rows.items())


def _preferred(
    written: Mapping[str, tuple[FinishedStage, Path, Rows]], labels: Mapping[str, str], studies: Mapping[str, Any]
) -> dict[Path, Author]:
    """Stored t+ to its author; arms that share it share the author. One that was not written for any of the studies
    is left out."""
    sharing: dict[Path, list[str]] = {}
    for arm, (_, path, rows) in written.items():
        if any(study in studies for study in rows):
            sharing.setdefault(path, []).append(arm)
    found = {}
    for path, arms in sharing.items():
        folder, _, rows = written[arms[0]]
        label = "t+" if len(sharing) == 1 else f"t+ of {', '.join(labels[arm] for arm in arms)}"
        found[path] = Author(f"preferred:{arms[0]}", "preferred", label, folder.seed, rows)
    return found


def _arms(
    run_folder: Path,
    answers: Mapping[str, tuple[FinishedStage, Path, Rows]],
    labels: Mapping[str, str],
    preferred: Mapping[Path, Author],
) -> Iterator[Author]:
    before = _before({arm: folder.path.parent for arm, (folder, _, _) in answers.items()}, stage_names(run_folder))
    writing = {(own.arm, own.seed): own.path for own in newest_runs(run_folder, "self_distill")}
    for arm, (folder, _, rows) in answers.items():
        place = writing.get((arm, folder.seed))
        learned = preferred.get((place / "preferred.jsonl").resolve()) if place else None
        yield Author(
            f"arm:{arm}",
            "arm",
            labels[arm],
            folder.seed,
            rows,
            _likelihoods(folder, run_folder),
            before=f"arm:{before[arm]}" if arm in before else "",
            preferred=learned.key if learned else "",
        )


def _before(stages: Mapping[str, Path], names: Sequence[str]) -> dict[str, str]:
    """Arm to the arm that stopped one stage earlier: with the same SPD and none of the stages of ``names`` that learn
    from t+, or with neither."""
    begun = {arm: (path / "spd").resolve() if (path / "spd").is_dir() else None for arm, path in stages.items()}
    later = [name for name in names if rounds.first(name) not in ("spd", "self_distill")]
    critique = {arm for arm, path in stages.items() if any((path / name).is_dir() for name in later)}
    found = {}
    for arm, spd in begun.items():
        start = spd if arm in critique else None
        if arm in critique or spd is not None:
            found[arm] = next((a for a, other in begun.items() if other == start and a not in critique), "")
    return {arm: earlier for arm, earlier in found.items() if earlier}


def _likelihoods(folder: FinishedStage, run_folder: Path) -> dict[str, dict[str, float]]:
    """Study to finding to how likely the student takes it to be present; empty where that was not measured."""
    path = folder.path / "statements.jsonl"
    if not is_there(path, run_folder):
        return {}
    return {
        study: {str(name): float(p) for name, p in mapping(row.get("p")).items() if _is_share(p)}
        for study, row in by_study(path, run_folder).items()
    }


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
