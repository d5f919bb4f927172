"""What a student answers, and how likely it finds t+ and the teachers' texts: one measure for every row of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from apo_lightning import leader
from apo_lightning.experiment import trainer
from apo_lightning.experiment.scored import scored_findings
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.files.formats import write_json
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.metrics.answers import (
    prediction_row,
    text_outcomes,
)
from apo_lightning.metrics.likelihood import SUFFIXES
from apo_lightning.metrics.outcomes import MEAN
from apo_lightning.metrics.probes import measured
from apo_lightning.models.student import Student
from apo_lightning.probes import Asked, probe
from data_modules.base import CXRDataModule

if TYPE_CHECKING:
    from apo_lightning.experiment.pipeline import Pipeline


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
    if leader.is_leader():
        as_read = pipeline.thinking.as_read
        rows = [prediction_row(s, texts.get(s.id, ""), findings, as_read) for s in studies]
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
    device = trainer.device(pipeline.cfg.trainer)  # Lightning leaves a model on the CPU when it is done with it
    student.to(device)
    found = []
    for start in range(0, len(asked), size):
        batch = collate([(example, pipeline.data.images(example.study)) for example in asked[start : start + size]])
        logps = student.score(pipeline.data.transfer_batch_to_device(batch, device, 0)).logps
        for row, present in zip(logps.tolist(), batch.present.tolist(), strict=True):
            found.append((row[0], [value for value, there in zip(row[1:], present[1:], strict=True) if there]))
    return found
