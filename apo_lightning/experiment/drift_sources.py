"""Where ``apo drift`` finds texts and labels: in a run folder, or in files of trajectories."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from apo_lightning import config
from apo_lightning.collecting import journal
from apo_lightning.drift.corpus import Corpus
from apo_lightning.errors import ApoError, ArtifactError, DataError
from apo_lightning.experiment import checks, drift_labels, pool
from apo_lightning.experiment.scored import scored_findings
from apo_lightning.experiment.stage_files import read_preferred
from apo_lightning.findings import canonical
from apo_lightning.hashing.contents import digest
from apo_lightning.metrics.outcomes import MEAN
from apo_lightning.own_texts import reading
from apo_lightning.reports.folder import newest_runs, require_stage, stage_folders
from apo_lightning.reports.measured import values
from apo_lightning.reports.teacher_drift import labels as stored_labels
from apo_lightning.settings import ExperimentSettings
from apo_lightning.teachers import recorded
from apo_lightning.teachers.api import said
from apo_lightning.text.labeler import parse
from apo_lightning.text.mentions import MENTIONS
from apo_lightning.text.thinking import ThinkingPolicy
from apo_lightning.trajectories import records
from apo_lightning.types import Study, Trajectory
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS

NO_LABELS = (
    "The data set '{name}' has no labels, so teachers are held against each other and not against the truth: who is "
    "right, the vote and the gate need labelled studies (of tabular: data.labels or data.findings_columns)."
)


@dataclass(frozen=True)
class Source:
    """What is measured.

    Attributes:
        name: of the run or file.
        corpus: all texts.
        about: hash of the texts.
        notes: what a reader has to be told of it.
        splits: study to its split, where it has one.
        preferred: study to t+, where the run has written it.
        untrained: of a run with answers, the accuracy of its arm that trains nothing.
        cfg, data: of a run, the settings of its first arm and its data set, where that is at hand.
    """

    name: str
    corpus: Corpus
    about: str
    notes: list[str] = field(default_factory=list)
    splits: Mapping[str, str] = field(default_factory=dict)
    preferred: Mapping[str, str] = field(default_factory=dict)
    untrained: float | None = None
    cfg: ExperimentSettings | None = None
    data: CXRDataModule | None = None

    def split(self, name: str) -> Corpus | None:
        """The studies of one split; None where there are none."""
        kept = [self.splits.get(study) == name for study in self.corpus.studies]
        return self.corpus.only(studies=kept) if any(kept) else None


def of_run(folder: Path, findings: Sequence[str] = ()) -> Source:
    """The texts of a run, its labels from the data set, or where that is not at hand those beside its answers.

    Raises:
        ArtifactError: there is no such run, it has no texts, or a stage is damaged.
        ConfigError: its settings are not of this version.
    """
    stage = next(iter(stage_folders(folder, "collect")), None)
    if stage is None or not (folder / "config.yaml").is_file():
        raise ArtifactError(f"{folder} is no run folder with collected texts. Give one under runs/, or a JSONL file.")
    arms = config.load(folder / "config.yaml").resolved
    cfg, heard = next(iter(arms.values())), pool.heard(arms)
    spoken = recorded.read_jsonl(require_stage(stage, folder).path / "trajectories.jsonl")
    spoken = [one for one in spoken if one.teacher in heard]
    said = ThinkingPolicy(**asdict(cfg.thinking)).apply_policy(spoken, "read")
    try:
        data = checks.build_data(cfg)
        studies = [study for split in SPLITS for study in data.studies(split)]
        wanted, notes = _wanted(findings or scored_findings(cfg.evaluate, data), cfg)
    except (ApoError, OSError) as error:
        data, studies, wanted, notes = None, *_stored(folder, spoken, findings), [_gone(error)]
    corpus = ordered(said, studies, wanted, heard, str(folder))
    return Source(
        folder.name,
        corpus,
        about(said),
        notes,
        {study.id: study.split for study in studies},
        _preferred(folder),
        untrained(folder, cfg),
        cfg,
        data,
    )


def _wanted(findings: Sequence[str], cfg: ExperimentSettings) -> tuple[Sequence[str], list[str]]:
    """The findings, or where the data set has no labels, those that the reader knows; and what is said of that."""
    if findings:
        return findings, []
    note = f"{NO_LABELS.format(name=cfg.data['name'])} Looked for are the canonical findings; --findings names others."
    return list(MENTIONS), [note]


def untrained(folder: Path, cfg: ExperimentSettings) -> float | None:
    """Mean accuracy of the answers of the first arm that trains nothing; None: the run has none, or no results yet."""
    arm = next((name for name, own in cfg.arms.items() if not own.stages), None)
    if arm is None or not (folder / "results.csv").is_file():
        return None
    found = values(folder)
    found = found[(found.kind == "arm") & (found.arm == arm) & (found.metric == "accuracy") & (found.finding == MEAN)]
    return float(found.value.mean()) if len(found) else None


def _preferred(folder: Path) -> dict[str, str]:
    """t+ of the first arm that has it."""
    for stage in newest_runs(folder, "self_distill")[:1]:
        return {study: found.text for study, found in read_preferred(stage.path / "preferred.jsonl").items()}
    return {}


def _gone(error: Exception) -> str:
    return f"The data set of the run is not at hand, so labels are those that it kept beside its answers ({error})"


def _stored(folder: Path, spoken: Sequence[Trajectory], findings: Sequence[str]) -> tuple[list[Study], Sequence[str]]:
    """Studies as a run folder knows them: patient and split by ``splits.csv``, labels beside its answers."""
    truth = dict(stored_labels(folder))
    known = _splits(folder / "splits.csv")
    names = dict.fromkeys(one.study for one in spoken)
    studies = [Study(n, *known.get(n, (n, "train")), (), truth.get(n, {})) for n in names]
    wanted = list(findings) or list(dict.fromkeys(name for own in truth.values() for name in own)) or list(MENTIONS)
    return studies, wanted


def _splits(path: Path) -> dict[str, tuple[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["study"]: (row["patient"], row["split"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, csv.Error):
        return {}


def ordered(
    said: Sequence[Trajectory], studies: Iterable[Study], findings: Sequence[str], teachers: Sequence[str], where: str
) -> Corpus:
    """The corpus with its teachers in the order of the experiment; texts on studies that are not used are left out."""
    known = {study.id: study for study in studies}
    kept = [one for one in said if one.study in known]
    if not kept:
        raise ArtifactError(f"{where} has no text on a study that it uses.")
    corpus = Corpus.of(kept, known.values(), findings)
    return corpus.only(teachers=[name for name in teachers if name in corpus.teachers])


def about(said: Iterable[Trajectory]) -> str:
    """Hash of texts, by which a record of them is known again."""
    return digest([[one.study, one.teacher, one.text] for one in said])


def of_files(paths: Sequence[Path], findings: Sequence[str], labels: Path | None = None) -> Source:
    """Files of trajectories in either form, or journals of `collect`. Labels are those of ``labels`` (a table with the
    column ``study``, perhaps ``patient``, and one a finding), else those that the lines list (what a line does not list
    is absent), else what the lines' reports state.

    Raises:
        DataError: a file cannot be read, or there are no texts, or two of one teacher on one study.
    """
    trajectories, rows, notes = [], dict[str, dict[str, Any]](), list[str]()
    for path in paths:
        if journal.is_journal(path):
            trajectories += _collected(path, notes)
        elif path.suffix == ".jsonl" or not path.is_file():
            trajectories += [Trajectory(**row) for row in records.read(path)]
            rows |= _images(path)
        else:
            said_of = reading.read(path).said
            trajectories += [Trajectory(one.names[0], one.teacher or path.stem, one.text) for one in said_of]
    _refuse_twice(trajectories, paths)
    truth, patients = _truth(rows, findings), {n: row["patient"] for n, row in rows.items() if row.get("patient")}
    if labels is not None:
        truth, own = drift_labels.table(labels, findings)
        names = drift_labels.same_names(labels, list(truth), list(dict.fromkeys(one.study for one in trajectories)))
        truth, own = ({names[name]: value for name, value in of.items() if name in names} for of in (truth, own))
        patients |= own
    elif any(row.get("labels") is not None for row in rows.values()):
        notes.append("Labels are those that the lines list; what a line does not list is taken for absent.")
    elif truth:
        notes.append("Labels are what the lines' reports state, read by rules.")
    names = dict.fromkeys(one.study for one in trajectories)
    splits = {name: str(row["split"]) for name, row in rows.items() if row.get("split")}
    studies = [Study(n, patients.get(n, n), splits.get(n, "train"), (), truth.get(n, {})) for n in names]
    if not studies:
        raise DataError(f"{paths[0]} has no texts. Give a file of trajectories, one JSON object per line.")
    if not any(one.t for one in trajectories):
        trajectories = _spread(trajectories, list(names))
    if unknown := len(names) - len(names.keys() & patients.keys()):
        notes.append(f"Of {unknown:,} studies the patient is not known: each counts as one of its own in intervals.")
    name = paths[0].stem if len(paths) == 1 else paths[0].absolute().parent.name
    read = ThinkingPolicy().apply_policy(trajectories, "read")
    return Source(name, Corpus.of(read, studies, findings), about(trajectories), notes, splits)


def _collected(path: Path, notes: list[str]) -> list[Trajectory]:
    """The newest answer without a mark, of every study in a teacher's journal."""
    held = journal.read(path)
    found = journal.counting((own.study, own) for own in held.answers)
    asked = {own.study: own.asks for own in held.answers}
    if several := len({(own.study, own.asks) for own in held.answers}) - len(asked):
        notes.append(f"{path.name} has answers to {several:,} further questions; of each study the newest counts.")
    if held.damaged or held.foreign:
        notes.append(f"{path.name} has {len(held.damaged) + held.foreign:,} lines that are no answers.")
    return [Trajectory(study, own.teacher, said(own), prompt=own.prompt) for study, own in found.items()]


def _refuse_twice(trajectories: Sequence[Trajectory], paths: Sequence[Path]) -> None:
    """
    Raises:
        DataError: one teacher has two texts on one study, in two files.
    """
    counts = Counter((one.study, one.teacher) for one in trajectories)
    (study, teacher), most = counts.most_common(1)[0] if counts else (("", ""), 0)
    if most > 1:
        raise DataError(
            f"Study '{study}' of teacher '{teacher}' stands in several of {', '.join(map(str, paths))}. A teacher "
            "answers a study once: leave one of the files out."
        )


def _spread(trajectories: Sequence[Trajectory], names: Sequence[str]) -> list[Trajectory]:
    """Without a place in the stream: the order of the file."""
    place = {name: i / max(len(names) - 1, 1) for i, name in enumerate(names)}
    return [Trajectory(one.study, one.teacher, one.text, place[one.study]) for one in trajectories]


def _images(path: Path) -> dict[str, dict[str, Any]]:
    """Lines of the form with one line per image, by study."""
    rows = (records.parse(line) for _, line in records.lines(path))
    return {row["id"]: row for row in rows if records.is_image(row)}


def _truth(rows: Mapping[str, Mapping[str, Any]], findings: Sequence[str]) -> dict[str, dict[str, float]]:
    """By the labels that lines list; where none lists any, by what their reports state."""
    listed = {study: row["labels"] for study, row in rows.items() if row.get("labels") is not None}
    if listed:
        named = {study: set(map(canonical, own)) for study, own in listed.items()}
        return {study: {name: float(name in own) for name in findings} for study, own in named.items()}
    reports = {study: row["report"] for study, row in rows.items() if row.get("report")}
    return {study: parse(text, findings) for study, text in reports.items()}
