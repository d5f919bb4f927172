"""Which strategy finds t+, and whether the data have what it goes by."""

from __future__ import annotations

from collections.abc import Sequence

from apo_lightning import config
from apo_lightning.config.rules import runs_stage
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.scored import judging_findings
from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Strategy
from apo_lightning.settings import ExperimentSettings
from apo_lightning.text.progression import judges_progression
from apo_lightning.types import Study
from data_modules.base import CXRDataModule

KEY = "stages.self_distill.positive"


def strategy(cfg: ExperimentSettings) -> Strategy:
    """The strategy of an arm's resolved settings."""
    return config.build(POSITIVES, cfg.stages.self_distill.positive, KEY)


def writes(cfg: ExperimentSettings) -> bool:
    """Whether t+ is written by the student, which is then asked the prompt of the stage and reads every teacher."""
    return runs_stage(cfg, "self_distill") and POSITIVES.lookup(chosen(cfg)).writes


def require(cfg: ExperimentSettings, arm: str, data: CXRDataModule) -> None:
    """See that the data have what the arm's strategy goes by, before anything is trained.

    Raises:
        ConfigError: studies are labelled with what it does not know, or it needs labels and there are none.
    """
    if "self_distill" not in cfg.arms[arm].stages:
        return
    own, name, studies = strategy(cfg), chosen(cfg), data.studies("val")
    courses = judges_progression([*data.studies("train"), *studies])
    if courses and not own.courses:
        fitting = ", ".join(sorted(each for each, kind in POSITIVES.items() if kind.courses))
        raise ConfigError(
            f"{KEY} '{name}' goes by which findings are present, and '{cfg.data['name']}' is labelled with their "
            f"course (improving, stable, worsening). Strategies that know courses: {fitting}."
        )
    judged = judging_findings(cfg.evaluate, data)
    if own.uses_labels and not any(_labelled(study, judged, courses) for study in studies):
        free = ", ".join(sorted(each for each, kind in POSITIVES.items() if not kind.uses_labels))
        raise ConfigError(
            f"{KEY} '{name}' compares teachers with the labels of validation studies, and none of the {len(studies)} "
            f"of '{cfg.data['name']}' has a label. Give the split labelled studies (data.val_fraction, "
            f"data.split_file), or take a strategy that needs none: {free}."
        )


def _labelled(study: Study, findings: Sequence[str], courses: bool) -> bool:
    return bool(study.progression) if courses else any(study.findings.get(name) in (0, 1) for name in findings)


def chosen(cfg: ExperimentSettings) -> str:
    """Name of the strategy of an arm's resolved settings."""
    return cfg.stages.self_distill.positive["name"]
