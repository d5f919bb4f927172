"""results.csv: one tidy row a value, gathered from the run folder; and the sample studies of the report."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apo_lightning.artifacts import write_json, write_text
from apo_lightning.evaluation import baseline_rows, teacher_rows, text_rows
from apo_lightning.settings import ExperimentSettings
from apo_lightning.types import Study
from data_modules.base import CXRDataModule

if TYPE_CHECKING:
    from apo_lightning.pipeline import Pipeline

COLUMNS = ("arm", "label", "kind", "seed", "metric", "finding", "value")
SAMPLES = 40
LABELS = {"majority_vote": "Majority vote of the teachers", "always_yes": "Always yes", "always_no": "Always no"}


def write(cfg: ExperimentSettings, folder: Path, last: Pipeline) -> Path:
    """Gather every arm and seed of the folder, the consensus, the teachers and the untrained baselines."""
    rows = [*_arms(cfg, folder), *_consensus(cfg, folder, last), *_teachers(last), *_baselines(last)]
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    table.writerows([*row[:-1], "" if math.isnan(row[-1]) else repr(row[-1])] for row in rows)
    return write_text(folder / "results.csv", out.getvalue())


def _seeds(folder: Path, arm: str, file: str) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.glob(f"{arm}/seed*/{file}"), key=lambda p: int(p.parts[-3][4:])):
        yield int(path.parts[-3][4:]), path


def _arms(cfg: ExperimentSettings, folder: Path) -> Iterator[tuple[Any, ...]]:
    for arm, section in cfg.arms.items():
        for seed, path in _seeds(folder, arm, "evaluate/scores.json"):
            for metric, finding, value in json.loads(path.read_text()):
                yield arm, section.label, "arm", seed, metric, finding, math.nan if value is None else float(value)


def _consensus(cfg: ExperimentSettings, folder: Path, last: Pipeline) -> Iterator[tuple[Any, ...]]:
    """t+ itself, where it was written for the evaluation split: it has read the teachers, the arms have not."""
    if cfg.evaluate.split not in cfg.stages.self_distill.splits:
        return
    writers = [arm for arm, section in cfg.arms.items() if "self_distill" in section.stages]
    for arm in writers[:1]:
        for seed, path in _seeds(folder, arm, "self_distill/preferred.jsonl"):
            texts = {
                row["study"]: last.thinking.as_read(row["text"])
                for row in map(json.loads, path.read_text().splitlines())
            }
            studies = last.data.studies(cfg.evaluate.split)
            for row in text_rows(texts, studies, last.counted) if _spoken(studies, texts) else ():
                yield "preferred", "t+ (reads the teachers)", "baseline", seed, *row


def _spoken(studies: Sequence[Study], texts: Container[str]) -> bool:
    """Whether there is a text on any of the studies: recorded teachers know nothing of another evaluation set."""
    return any(study.id in texts for study in studies)


def _teachers(last: Pipeline) -> Iterator[tuple[Any, ...]]:
    """Those that have spoken of the evaluation split."""
    studies = last.data.studies(last.cfg.evaluate.split)
    for name in last.cfg.teachers:
        if not _spoken(studies, {t.study for t in last.trajectories if t.teacher == name}):
            continue
        for row in teacher_rows(last.thinking.read(last.trajectories), studies, name, last.counted):
            yield name, name, "teacher", 0, *row


def _baselines(last: Pipeline) -> Iterator[tuple[Any, ...]]:
    studies = last.data.studies(last.cfg.evaluate.split)
    spoken = _spoken(studies, {t.study for t in last.trajectories})
    for name, rows in baseline_rows(
        last.thinking.read(last.trajectories), studies, list(last.cfg.teachers), last.counted
    ).items():
        for row in rows if spoken or name != "majority_vote" else ():
            yield name, LABELS[name], "baseline", 0, *row


def write_samples(data: CXRDataModule, split: str, folder: Path) -> None:
    """Truth and image of the first studies of the split, for the report to choose from."""
    rows = []
    for study in data.studies(split)[:SAMPLES]:
        name = f"{study.id}.png".replace("/", "_")
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        data.images(study)[-len(study.images)].save(folder / "samples" / name)
        findings = {k: None if math.isnan(v) else int(v) for k, v in study.findings.items()}
        rows.append({"study": study.id, "findings": findings, "report": study.report, "image": name})
    write_json(folder / "samples" / "samples.json", rows)
