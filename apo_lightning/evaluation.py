"""What a student answers, and how likely it finds t+ and the teachers' texts: one measure for every row of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from apo_lightning import training
from apo_lightning.artifacts import StageFolder, write_json, write_jsonl
from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.metrics.findings import FindingOutcomes, majority_vote, of_findings
from apo_lightning.metrics.labeler import kind, parse, read
from apo_lightning.metrics.likelihood import SUFFIXES, of_likelihoods
from apo_lightning.metrics.outcomes import MEAN, Measure, Outcomes, Row
from apo_lightning.metrics.prevalence import most_frequent, most_frequent_courses, prevalence_scores
from apo_lightning.metrics.progression import (
    CLASSES,
    CourseOutcomes,
    majority_course,
    of_progression,
    read_progression,
)
from apo_lightning.metrics.scored import ScoredOutcomes
from apo_lightning.probes import Asked, of_probe, probe
from apo_lightning.settings import EvaluateSettings
from apo_lightning.student import Student
from apo_lightning.types import Study, Trajectory
from data_modules.base import CXRDataModule

if TYPE_CHECKING:
    from apo_lightning.pipeline import Pipeline


def scored_findings(plan: EvaluateSettings, data: CXRDataModule) -> tuple[str, ...]:
    """Findings that answers are scored on: those that are named, else all of the set that the split belongs to.

    Raises:
        DataError: a name is none of the set's.
    """
    known = data.counted if plan.split == "test" else tuple(data.findings)
    for name in plan.findings:
        if name not in known:
            hint = did_you_mean(name, known)
            raise DataError(f"evaluate.findings names '{name}', for which there are no labels. {hint}")
    return tuple(plan.findings) or known


def judging_findings(plan: EvaluateSettings, data: CXRDataModule) -> Sequence[str]:
    """Findings that teachers are judged by on the validation split: the scored ones that are the training set's, which
    another evaluation set does not replace; all of them where it has none of these."""
    known = data.findings
    return [name for name in plan.findings if name in known] or known


def labels_of(studies: Sequence[Study], findings: Sequence[str]) -> np.ndarray:
    """``[S, F]`` 1, 0, NaN."""
    each = [[study.findings.get(name, np.nan) for name in findings] for study in studies]
    return np.array(each, float).reshape(len(studies), len(findings))


def score_texts(texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str]) -> FindingOutcomes:
    """What one text a study gets right; a study without a text counts as refused."""
    said = [texts.get(study.id, "") for study in studies]
    stated, refusals = read(said, findings)
    kinds = np.array([kind(text, findings) for text in said], dtype=object)
    return of_findings(
        labels_of(studies, findings), stated, refusals, findings, patients_of(studies),
        nothing=kinds == "nothing", normal=kinds == "normal",
    )  # fmt: skip


def score_progression(texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str]) -> CourseOutcomes:
    """How well texts tell the course of findings, over the studies that are labelled with it."""
    labelled = [study for study in studies if study.progression]
    answers = [read_progression(texts.get(study.id, ""), findings) for study in labelled]
    return of_progression([study.progression for study in labelled], answers, findings, patients_of(labelled))


def text_outcomes(texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str]) -> Outcomes:
    """All that is measured on texts alone. Where studies are labelled with the course of their findings, that is what
    the texts are asked for, and "present or absent" would measure nothing."""
    return (score_progression if judges_progression(studies) else score_texts)(texts, studies, findings)


def judges_progression(studies: Sequence[Study]) -> bool:
    return any(study.progression for study in studies)


def patients_of(studies: Sequence[Study]) -> list[str]:
    return [study.patient for study in studies]


def best_teacher(trajectories: Sequence[Trajectory], studies: Sequence[Study], names: Sequence[str],
                 findings: Sequence[str]) -> str:  # fmt: skip
    """The teacher with the highest mean accuracy on ``studies`` (the validation split); the first of equals."""
    reached = mean_accuracies(trajectories, studies, names, findings)
    return max(names, key=reached.__getitem__)


def mean_accuracies(trajectories: Sequence[Trajectory], studies: Sequence[Study], names: Sequence[str],
                    findings: Sequence[str]) -> dict[str, float]:  # fmt: skip
    """Teacher to its mean accuracy over ``findings``; of courses, where ``studies`` are labelled with these."""
    metric = "progression_accuracy" if judges_progression(studies) else "accuracy"
    reached = {name: dict_of(teacher_outcomes(trajectories, studies, name, findings).rows()) for name in names}
    return {name: values[metric, MEAN] for name, values in reached.items()}


def teacher_outcomes(trajectories: Sequence[Trajectory], studies: Sequence[Study], name: str,
                     findings: Sequence[str]) -> Outcomes:  # fmt: skip
    """What one teacher's own texts get right."""
    return text_outcomes({t.study: t.text for t in trajectories if t.teacher == name}, studies, findings)


def dict_of(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    return {(metric, finding): value for metric, finding, value in rows}


def baseline_outcomes(trajectories: Sequence[Trajectory], studies: Sequence[Study], names: Sequence[str],
                      findings: Sequence[str]) -> dict[str, Outcomes]:  # fmt: skip
    """Rows that need no training: majority vote of the teachers (refusals abstain), and the same answer always."""
    texts = {(t.study, t.teacher): t.text for t in trajectories}
    if judges_progression(studies):
        return _course_baselines(texts, [study for study in studies if study.progression], names, findings)
    labels, nobody = labels_of(studies, findings), np.zeros(len(studies), bool)
    votes = np.stack([read([texts.get((s.id, name), "") for s in studies], findings)[0] for name in names], 1)
    constant = {word: np.full(labels.shape, value) for word, value in (("always_yes", 1.0), ("always_no", 0.0))}
    answers = {"majority_vote": majority_vote(votes), **constant}
    who = patients_of(studies)
    return {name: of_findings(labels, answer, nobody, findings, who) for name, answer in answers.items()}


def prevalence_outcomes(train: Sequence[Study], studies: Sequence[Study], findings: Sequence[str]) -> Outcomes | None:
    """The more frequent answer of the training split, finding by finding, to every study; what reading no image gets.
    None where the training split has no label of what is asked: another set may count findings of its own."""
    if judges_progression(studies):
        labelled = [study for study in studies if study.progression]
        course = most_frequent_courses([study.progression for study in train], findings)
        truth, answers = [study.progression for study in labelled], [course] * len(labelled)
        return of_progression(truth, answers, findings, patients_of(labelled)) if course else None
    answer = most_frequent(labels_of(train, findings))
    if np.isnan(answer).all():
        return None
    labels, nobody = labels_of(studies, findings), np.zeros(len(studies), bool)
    return of_findings(labels, np.tile(answer, (len(studies), 1)), nobody, findings, patients_of(studies))


def prevalence_score_outcomes(
    train: Sequence[Study], studies: Sequence[Study], findings: Sequence[str]
) -> ScoredOutcomes:
    """The same as scores: each finding's share of positives in training, whatever the study. A share of one half stands
    just below it, so that both readings answer absent."""
    shares = prevalence_scores(labels_of(train, findings))
    shares = np.where(shares == 0.5, np.nextafter(0.5, 0), shares)
    scores = np.tile(shares, (len(studies), 1))
    return ScoredOutcomes(patients_of(studies), labels_of(studies, findings), scores, findings, "likelihood")


def _course_baselines(texts: Mapping[tuple[str, str], str], studies: Sequence[Study], names: Sequence[str],
                      findings: Sequence[str]) -> dict[str, Outcomes]:  # fmt: skip
    said = [[read_progression(texts.get((s.id, name), ""), findings) for name in names] for s in studies]
    answers = {"majority_vote": [majority_course(each, findings) for each in said]}
    answers |= {f"always_{course}": [dict.fromkeys(findings, course)] * len(studies) for course in CLASSES}
    truth, who = [study.progression for study in studies], patients_of(studies)
    return {name: of_progression(truth, answer, findings, who) for name, answer in answers.items()}


def evaluate(pipeline: Pipeline, made_by: StageFolder | None, before: StageFolder | None, folder: StageFolder,
             data: CXRDataModule | None = None) -> dict[str, Any]:  # fmt: skip
    """Answer the evaluation split, read the answers, score them; then what the student knows beside them, and the
    likelihoods where there is a t+.

    Args:
        pipeline: of the arm and seed.
        made_by: stage that wrote the student, None for the base model.
        before: stage that wrote the student before APO.
        folder: where the results go.
        data: the set that is answered; None: the pipeline's, on which alone t+ is looked at.
    """
    of = pipeline.data if data is None else data
    plan, studies = pipeline.cfg.evaluate, of.studies(pipeline.cfg.evaluate.split)
    findings = scored_findings(plan, of)
    asked = Asked(pipeline, pipeline.load(made_by), of, folder, findings)
    answers = asked.answers(studies)
    texts = {study: written[0].text for study, written in answers.items()}
    cut = sum(answers[study.id][0].cut for study in studies)
    known, facts = probe(asked, texts)
    likely = _likelihoods(pipeline, asked.student, before) if data is None else []
    if training.is_leader():
        as_read = pipeline.thinking.as_read
        rows = [_prediction(s, texts.get(s.id, ""), findings, as_read) for s in studies]
        write_jsonl(folder.path / "predictions.jsonl", rows)
        read_as = {study: as_read(text) for study, text in texts.items()}
        rows = [*text_outcomes(read_as, studies, findings).rows(), ("cut", MEAN, cut / len(studies))]
        for name, lines in {**known, "likelihoods": likely}.items():
            if lines:
                write_jsonl(folder.path / f"{name}.jsonl", lines)
                rows += measured(name, lines, as_read).rows()
        write_json(folder.path / "scores.json", [list(row) for row in rows])
    own = {"studies": len(studies), "split": plan.split, "cut": {"answers": cut}, "decoding": plan.decoding()}
    return {**own, **facts}


def measured(name: str, rows: Sequence[Mapping[str, Any]], as_read: Callable[[str], str]) -> Measure:
    """What is counted of the lines of one file of an evaluation.

    Args:
        name: ``statements``, ``samples``, ``flips`` or ``likelihoods``.
        rows: its lines, at least one.
        as_read: makes of a text what is read of it.
    """
    if name == "likelihoods":
        return of_likelihoods(rows)
    return of_probe(name, rows, as_read)


def _prediction(study: Study, text: str, findings: Sequence[str], as_read: Callable[[str], str]) -> dict[str, Any]:
    """An answer, what was read in it, and what it is compared with: all that a table needs of a study."""
    truth = {name: study.findings.get(name, np.nan) for name in findings}
    told = {"progression": dict(study.progression)} if study.progression else {}
    said = kind(as_read(text), findings)
    return {
        "study": study.id, "text": text, "findings": _plain(parse(as_read(text), findings)), "kind": said,
        "refused": said == "refused", "patient": study.patient, "truth": _plain(truth), **told,
    }  # fmt: skip


def _plain(values: Mapping[str, float]) -> dict[str, int | None]:
    return {name: None if np.isnan(value) else int(value) for name, value in values.items()}


def answered(row: Mapping[str, Any]) -> Study:
    """The study of a line of ``predictions.jsonl``, as far as its answer is compared with it."""
    truth = {name: np.nan if value is None else float(value) for name, value in row["truth"].items()}
    return Study(row["study"], row["patient"], "", (), truth, progression=row.get("progression", {}))


def _likelihoods(pipeline: Pipeline, student: Student, before: StageFolder | None) -> list[dict[str, Any]]:
    """Log p of t+ and of the teachers' texts on validation studies, under this student and the one before APO; one
    entry a study."""
    if "apo" not in pipeline.done or "val" not in pipeline.cfg.stages.self_distill.splits:
        return []
    studies = pipeline.data.studies("val")[: pipeline.cfg.evaluate.likelihood_studies]
    asked = pipeline.judged(studies, drop_refusals=True, drop_copies=True, counts=Counter())
    rows = [{"study": example.study.id, "patient": example.study.patient} for example in asked]
    for suffix, judge in zip(SUFFIXES, (student, pipeline.load(before)), strict=True):
        for row, (chosen, rejected) in zip(rows, _logps(pipeline, judge, asked), strict=True):
            row |= {f"preferred{suffix}": chosen, f"teachers{suffix}": rejected}
    return rows


@torch.no_grad()
def _logps(
    pipeline: Pipeline, student: Student, asked: Sequence[Any], size: int = 8
) -> list[tuple[float, list[float]]]:
    """Of each example the log p of t+ and of each teacher's text."""
    collate = pipeline.collator(student, pipeline.cfg.prompt)
    device = training.device(pipeline.cfg.trainer)  # Lightning leaves a model on the CPU when it is done with it
    student.to(device)
    found = []
    for start in range(0, len(asked), size):
        batch = collate([(example, pipeline.data.images(example.study)) for example in asked[start : start + size]])
        logps = student.score(pipeline.data.transfer_batch_to_device(batch, device, 0)).logps
        for row, present in zip(logps.tolist(), batch.present.tolist(), strict=True):
            found.append((row[0], [value for value, there in zip(row[1:], present[1:], strict=True) if there]))
    return found
