"""Which strategy finds t+, and whether the data have what it goes by."""

from __future__ import annotations

from apo_lightning import config
from apo_lightning.config.rules import runs_stage
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.scored import require_labels
from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Strategy
from apo_lightning.settings import REQUIRED, ExperimentSettings
from data_modules.base import CXRDataModule

KEY = "stages.self_distill.positive"


def strategy(cfg: ExperimentSettings) -> Strategy:
    """The strategy of an arm's resolved settings.

    Raises:
        ConfigError: it needs more texts of a study than the student writes.
    """
    own, written = config.build(POSITIVES, cfg.stages.self_distill.positive, KEY), cfg.stages.self_distill.samples
    if written != REQUIRED and written < own.drawn:
        raise ConfigError(
            f"{KEY} '{chosen(cfg)}' goes by several texts of a study, and stages.self_distill.samples is {written}. "
            f"Set it to {own.drawn} or more, with stages.self_distill.sample=true."
        )
    return own


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
    require_labels(KEY, chosen(cfg), POSITIVES, cfg, data)


def chosen(cfg: ExperimentSettings) -> str:
    """Name of the strategy of an arm's resolved settings."""
    return cfg.stages.self_distill.positive["name"]
