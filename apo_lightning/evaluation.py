"""What a student answers, and how likely it finds t+ and the teachers' texts: one measure for every row of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from apo_lightning import examples, training
from apo_lightning.artifacts import StageFolder, write_json, write_jsonl
from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.metrics.findings import MEAN, Row, majority_vote, scores
from apo_lightning.metrics.labeler import kind, parse, read
from apo_lightning.metrics.progression import progression_scores, read_progression
from apo_lightning.settings import EvaluateSettings
from apo_lightning.stages.self_distill import Writer
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


def labels_of(studies: Sequence[Study], findings: Sequence[str]) -> np.ndarray:
    """``[S, F]`` 1, 0, NaN."""
    return np.array([[study.findings.get(name, np.nan) for name in findings] for study in studies], float)


def score_texts(texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str]) -> list[Row]:
    """Metrics of one text a study; a study without a text counts as refused."""
    said = [texts.get(study.id, "") for study in studies]
    stated, refusals = read(said, findings)
    kinds = np.array([kind(text, findings) for text in said], dtype=object)
    return scores(
        labels_of(studies, findings), stated, refusals, findings, nothing=kinds == "nothing", normal=kinds == "normal"
    )


def score_progression(texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str]) -> list[Row]:
    """How well texts tell the course of findings, where the studies are labelled with it; no rows elsewhere."""
    labelled = [study for study in studies if study.progression]
    answers = [read_progression(texts.get(study.id, ""), findings) for study in labelled]
    return progression_scores([study.progression for study in labelled], answers, findings)


def text_rows(texts: Mapping[str, str], studies: Sequence[Study], findings: Sequence[str]) -> list[Row]:
    """All that is measured on texts alone."""
    return [*score_texts(texts, studies, findings), *score_progression(texts, studies, findings)]


def best_teacher(trajectories: Sequence[Trajectory], studies: Sequence[Study], names: Sequence[str],
                 findings: Sequence[str]) -> str:  # fmt: skip
    """The teacher with the highest mean accuracy on ``studies`` (the validation split); the first of equals."""
    return max(names, key=lambda name: dict_of(teacher_rows(trajectories, studies, name, findings))["accuracy", MEAN])


def teacher_rows(trajectories: Sequence[Trajectory], studies: Sequence[Study], name: str,
                 findings: Sequence[str]) -> list[Row]:  # fmt: skip
    """Metrics of one teacher's own texts."""
    return text_rows({t.study: t.text for t in trajectories if t.teacher == name}, studies, findings)


def dict_of(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    return {(metric, finding): value for metric, finding, value in rows}


def baseline_rows(trajectories: Sequence[Trajectory], studies: Sequence[Study], names: Sequence[str],
                  findings: Sequence[str]) -> dict[str, list[Row]]:  # fmt: skip
    """Rows that need no training: majority vote of the teachers (refusals abstain), always yes, always no."""
    labels, count = labels_of(studies, findings), len(studies)
    texts = {(t.study, t.teacher): t.text for t in trajectories}
    votes = np.stack([read([texts.get((s.id, name), "") for s in studies], findings)[0] for name in names], 1)
    nobody = np.zeros(count, bool)
    constant = {word: np.full(labels.shape, value) for word, value in (("always_yes", 1.0), ("always_no", 0.0))}
    answers = {"majority_vote": majority_vote(votes), **constant}
    return {name: scores(labels, answer, nobody, findings) for name, answer in answers.items()}


def evaluate(pipeline: Pipeline, made_by: StageFolder | None, before: StageFolder | None,
             folder: StageFolder) -> dict[str, Any]:  # fmt: skip
    """Answer the evaluation split, read the answers, score them; then the likelihoods where there is a t+."""
    plan, findings = pipeline.cfg.evaluate, pipeline.counted
    studies, student = pipeline.data.studies(plan.split), pipeline.load(made_by)
    writer = Writer(student, seed=pipeline.seed, max_new_tokens=plan.max_new_tokens)
    asked = pipeline.data.counted if plan.split == "test" else ()
    collate = pipeline.collator(student, plan.prompt or pipeline.cfg.prompt, asked)
    answers = pipeline.answers(writer, examples.plain(studies), collate, plan.batch_studies, folder)
    texts = {study: written[0] for study, written in answers.items()}
    texts_read = {study: pipeline.thinking.as_read(text) for study, text in texts.items()}
    rows = text_rows(texts_read, studies, findings) + _likelihoods(pipeline, student, before)
    if training.is_leader():
        write_jsonl(
            folder.path / "predictions.jsonl",
            [_prediction(s, texts.get(s.id, ""), findings, pipeline.thinking.as_read) for s in studies],
        )
        write_json(folder.path / "scores.json", [list(row) for row in rows])
    return {"studies": len(studies), "split": plan.split}


def _prediction(study: Study, text: str, findings: Sequence[str], as_read: Callable[[str], str]) -> dict[str, Any]:
    stated = {k: None if np.isnan(v) else int(v) for k, v in parse(as_read(text), findings).items()}
    said = kind(as_read(text), findings)
    return {"study": study.id, "text": text, "findings": stated, "kind": said, "refused": said == "refused"}


def _likelihoods(pipeline: Pipeline, student: Student, before: StageFolder | None) -> list[Row]:
    """Mean log p of t+ and of the teachers' texts on validation studies, under this student and the one before APO."""
    if "apo" not in pipeline.done or "val" not in pipeline.cfg.stages.self_distill.splits:
        return []
    studies = pipeline.data.studies("val")[: pipeline.cfg.evaluate.likelihood_studies]
    weights = dict.fromkeys(pipeline.teachers, 1.0)
    asked = examples.judged(
        studies,
        pipeline.heard,
        weights,
        pipeline.preferred,
        drop_refusals=True,
        drop_copies=True,
        counts=Counter(),
        as_read=pipeline.thinking.as_read,
    )
    rows: list[Row] = []
    for suffix, judge in (("", student), ("_before", pipeline.load(before))):
        chosen, rejected = _mean_logps(pipeline, judge, asked)
        rows += [(f"logp_preferred{suffix}", MEAN, chosen), (f"logp_teachers{suffix}", MEAN, rejected)]
    return rows


@torch.no_grad()
def _mean_logps(pipeline: Pipeline, student: Student, asked: Sequence[Any], size: int = 8) -> tuple[float, float]:
    collate = pipeline.collator(student, pipeline.cfg.prompt)
    chosen, rejected = [], []
    device = training.device(pipeline.cfg.trainer)  # Lightning leaves a model on the CPU when it is done with it
    student.to(device)
    for start in range(0, len(asked), size):
        batch = collate([(example, pipeline.data.images(example.study)) for example in asked[start : start + size]])
        logps = student.score(pipeline.data.transfer_batch_to_device(batch, device, 0)).logps
        chosen.append(logps[:, 0])
        rejected.append(logps[:, 1:][batch.present[:, 1:]])
    return (float(torch.cat(chosen).mean()), float(torch.cat(rejected).mean())) if chosen else (np.nan, np.nan)
