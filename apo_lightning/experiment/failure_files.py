"""``failures.json`` of a run folder: what went wrong between the answers of its students, once all have answered.

A student is compared with the one that its last stage started from, as far as an arm of the run has evaluated that one
too: nothing is generated a second time. Training leaves a file of the same name in each stage's folder
(`callbacks.failure_signatures`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_files import read_rows
from apo_lightning.files import yaml_files
from apo_lightning.files.formats import write_json
from apo_lightning.metrics.answer_failures import evaluation_failures
from apo_lightning.metrics.answers import answered
from apo_lightning.metrics.failures import Failure
from apo_lightning.reports.folder import SEED
from apo_lightning.settings import ExperimentSettings

NAME = "failures.json"


@dataclass(frozen=True)
class Evaluated:
    """One stored evaluation, and the keys of the student that answered and of the one before it (None: the base)."""

    arm: str
    seed: int
    folder: Path
    made_by: str | None
    before: str | None


def write(cfg: ExperimentSettings, run_folder: Path, arms: Mapping[str, Context]) -> Path:
    """Judge every arm and seed of the folder and write what is found, which the printed table says: an empty list where
    all is well."""
    found, some = list(_evaluated(cfg, run_folder)), next(iter(arms.values()))
    rows = []
    for own in found:
        context = arms.get(own.arm, some)  # an arm of an earlier run has none of its own
        for failure in _judge(own, found, _said(context), context):
            rows.append({"arm": own.arm, "seed": own.seed, "stage": "evaluate", **failure.row()})
    return write_json(run_folder / NAME, rows)


def _said(context: Context) -> dict[str, dict[str, str]]:
    """Teacher to study to text, as findings are read from it."""
    said: dict[str, dict[str, str]] = {name: {} for name in context.cfg.teachers}
    for text in context.thinking.apply_policy(context.trajectories, "read"):
        said.setdefault(text.teacher, {})[text.study] = text.text
    return said


def _judge(
    own: Evaluated, found: list[Evaluated], teachers: Mapping[str, Mapping[str, str]], context: Context
) -> list[Failure]:
    rows = read_rows(own.folder / "predictions.jsonl")
    if not rows or not all("truth" in row for row in rows):
        return []  # an earlier version kept no labels beside the answers
    trained = own.made_by is not None
    earlier = next((e for e in found if trained and e.made_by == own.before and e.seed == own.seed), None)
    before = _texts(read_rows(earlier.folder / "predictions.jsonl"), context) if earlier else None
    studies = [answered(row) for row in rows]
    if before is not None and not all(study.id in before for study in studies):
        before = None  # of another split
    return evaluation_failures(before, _texts(rows, context), teachers, studies, list(rows[0]["truth"]))


def _texts(rows: list[dict[str, Any]], context: Context) -> dict[str, str]:
    return {row["study"]: context.thinking.as_read(row["text"]) for row in rows}


def _evaluated(cfg: ExperimentSettings, run_folder: Path) -> Iterator[Evaluated]:
    for arm in cfg.arms:
        for place in sorted(run_folder.glob(f"{arm}/seed*")):
            if (seed := SEED.fullmatch(place.name)) and (place / "evaluate" / "predictions.jsonl").exists():
                stage = _last_trained(place, cfg.arms[arm].stages)
                before = _from(stage) if stage else None
                yield Evaluated(arm, int(seed[1]), place / "evaluate", _from(place / "evaluate"), before)


def _last_trained(place: Path, stages: Sequence[str]) -> Path | None:
    """The folder of the last stage of an arm that wrote a student."""
    return next((place / name for name in reversed(stages) if (place / name / "student").exists()), None)


def _from(folder: Path) -> str | None:
    """Key of the stage whose student a stage began with; None for the base model."""
    try:
        inputs = yaml_files.load(folder / "config.yaml")
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return inputs.get("from") if isinstance(inputs, dict) else None
