"""The stage that finds t+ for every study: asks the strategy of the experiment (``positives``) and files its choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apo_lightning import config, leader
from apo_lightning.batching import examples
from apo_lightning.config.rules import runs_stage
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.scored import judging_findings
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.metrics.answers import judges_progression
from apo_lightning.positives import DEFAULT, POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Strategy
from apo_lightning.settings import ExperimentSettings
from apo_lightning.stages.generate import SelfDistill
from apo_lightning.types import Answer, Study
from data_modules.base import CXRDataModule

if TYPE_CHECKING:
    from apo_lightning.experiment.pipeline import Pipeline

KEY = "stages.self_distill.positive"


def strategy(cfg: ExperimentSettings) -> Strategy:
    """The strategy of an arm's resolved settings."""
    return config.build(POSITIVES, cfg.stages.self_distill.positive, KEY)


def writes(cfg: ExperimentSettings) -> bool:
    """Whether t+ is written by the student, which is then asked the prompt of the stage and reads every teacher."""
    return runs_stage(cfg, "self_distill") and POSITIVES.lookup(_name(cfg)).writes


def require(cfg: ExperimentSettings, arm: str, data: CXRDataModule) -> None:
    """See that the data have what the arm's strategy goes by, before anything is trained.

    Raises:
        ConfigError: studies are labelled with what it does not know, or it needs labels and there are none.
    """
    if "self_distill" not in cfg.arms[arm].stages:
        return
    chosen, name, studies = strategy(cfg), _name(cfg), data.studies("val")
    courses = judges_progression([*data.studies("train"), *studies])
    if courses and not chosen.courses:
        fitting = ", ".join(sorted(each for each, kind in POSITIVES.items() if kind.courses))
        raise ConfigError(
            f"{KEY} '{name}' goes by which findings are present, and '{cfg.data['name']}' is labelled with their "
            f"course (improving, stable, worsening). Strategies that know courses: {fitting}."
        )
    judged = judging_findings(cfg.evaluate, data)
    if chosen.uses_labels and not any(_labelled(study, judged, courses) for study in studies):
        free = ", ".join(sorted(each for each, kind in POSITIVES.items() if not kind.uses_labels))
        raise ConfigError(
            f"{KEY} '{name}' compares teachers with the labels of validation studies, and none of the {len(studies)} "
            f"of '{cfg.data['name']}' has a label. Give the split labelled studies (data.val_fraction, "
            f"data.split_file), or take a strategy that needs none: {free}."
        )


def _labelled(study: Study, findings: Sequence[str], courses: bool) -> bool:
    return bool(study.progression) if courses else any(study.findings.get(name) in (0, 1) for name in findings)


def write(own: Pipeline, made_by: StageFolder | None, folder: StageFolder) -> dict[str, Any]:
    """Write ``preferred.jsonl``; returns facts for the manifest of the stage."""
    plan, facts = own.cfg.stages.self_distill, dict[str, Any]()
    split = {study.id: name for name in plan.splits for study in own.data.studies(name)}

    def by_student() -> Mapping[str, Sequence[Answer]]:
        answers, how = _by_student(own, made_by, folder)
        facts.update(how)
        return answers

    picked = strategy(own.cfg)(_evidence(own, list(split), by_student))
    rows = [_row(study, found, split[study]) for study, found in picked.items()]
    if leader.is_leader():
        write_jsonl(folder.path / "preferred.jsonl", rows)
    cut = {**facts.pop("cut", {}), "answers": sum(row["cut"] for row in rows)}
    more = _facts(own.cfg, list(picked.values()), len(split) - len(rows))
    return {"studies": len(rows), "cut": cut, **facts, **more}


def _evidence(own: Pipeline, asked: list[str], by_student: Any) -> Evidence:
    validation = own.data.studies("val")
    studies = [*asked, *(study.id for study in validation)]
    return Evidence(
        asked=asked, teachers=list(own.teachers),
        texts={study: {name: said.text for name, said in own.heard.get(study, {}).items()} for study in studies},
        labelled=validation, findings=own.data.findings, scored=own.judged_by, as_read=own.thinking.as_read,
        write=by_student,
    )  # fmt: skip


def _by_student(own: Pipeline, made_by: StageFolder | None,
                folder: StageFolder) -> tuple[dict[str, list[Answer]], dict[str, Any]]:  # fmt: skip
    """What the student writes of each study, and facts on how it was asked."""
    plan, student = own.cfg.stages.self_distill, own.load(made_by)
    asked = examples.informed([s for name in plan.splits for s in own.data.studies(name)], own.heard)
    writer = SelfDistill(student, plan, seed=own.seed, samples=plan.samples)
    collate = own.collator(student, plan.prompt)
    asked.sort(key=lambda example: sum(len(text.text) for text in example.context))  # little padding in a batch
    written = own.answers(writer, asked, collate, plan.batch_studies, folder.path)
    facts = {"cut": dict(collate.cut), "control": collate.control_texts(asked), "decoding": plan.decoding()}
    return {example.study.id: written[example.study.id] for example in asked}, facts


def _row(study: str, found: Picked, split: str) -> dict[str, Any]:
    own: dict[str, Any] = {"samples": list(found.samples)} if found.samples else {}
    own |= {"from": found.teacher} if found.teacher is not None else {}
    return {"study": study, "text": found.text, "cut": found.cut, "split": split, **own}


def _facts(cfg: ExperimentSettings, picked: Sequence[Picked], without: int) -> dict[str, Any]:
    """What a strategy other than the default one did: which, whose texts, and how many studies have none."""
    if _name(cfg) == DEFAULT:
        return {}
    counted = Counter(found.teacher for found in picked if found.teacher is not None)
    filtered = {"studies_without_text": without} if without else {}
    return {"positive": cfg.stages.self_distill.positive, "from": dict(counted.most_common()), "filtered": filtered}


def _name(cfg: ExperimentSettings) -> str:
    return cfg.stages.self_distill.positive["name"]
