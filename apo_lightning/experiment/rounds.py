"""A stage that runs again sees its own settings where the first run has them, and the newest t+."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

from apo_lightning.config import shape
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.context import Context
from apo_lightning.settings import ExperimentSettings

WRITING = "self_distill"
"""The stage whose settings others look at: who writes t+, and of which splits."""


def of_run(cfg: ExperimentSettings, name: str) -> ExperimentSettings:
    """The settings as a stage of an arm sees them: a later run's section stands in the place of the first one's."""
    stage = shape.stage_of(name)
    if stage in (name, None):
        return cfg
    stages = copy.copy(cfg.stages)
    setattr(stages, str(stage), getattr(cfg.stages, name))
    return replace(cfg, stages=stages)


def each_run(cfg: ExperimentSettings, look: Callable[[ExperimentSettings], object]) -> None:
    """Look at the settings, and once more for each later run that has settings of its own.

    Raises:
        ConfigError: what ``look`` has found, with the key of that run.
    """
    look(cfg)
    for name in dict.fromkeys(name for arm in cfg.arms.values() for name in arm.stages if shape.is_again(name)):
        stage = shape.stage_of(name)
        if getattr(cfg.stages, name) == getattr(cfg.stages, str(stage)):
            continue
        try:
            look(of_run(cfg, name))
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"stages.{stage}.", f"stages.{name}.")) from error


def of_step(own: Context, name: str) -> Context:
    """What a step of an arm is given: the arm with what is done so far, t+ as it was written last, and, for who writes
    it again, the settings of that run. What comes after it is told the same splits, and the prompt that was read."""
    own.__dict__.pop("preferred", None)  # held since the run before
    writing = newest_writing(own, name)
    if not shape.is_again(writing):
        return own
    seen = copy.copy(own)
    seen.cfg = of_run(own.cfg, writing) if name == writing else _told(own.cfg, writing)
    return seen


def newest_writing(own: Context, name: str) -> str:
    """The last run, up to the step ``name``, of the stage that writes t+."""
    return next((run for run in reversed(list(_until(own.stages, name))) if shape.stage_of(run) == WRITING), WRITING)


def _until(stages: list[str], name: str) -> Iterator[str]:
    for stage in stages:
        yield stage
        if stage == name:
            return


def _told(cfg: ExperimentSettings, name: str) -> ExperimentSettings:
    first, now = cfg.stages.self_distill, getattr(cfg.stages, name)
    if (first.splits, first.prompt) == (now.splits, now.prompt):
        return cfg
    stages = copy.copy(cfg.stages)
    stages.self_distill = replace(first, splits=now.splits, prompt=now.prompt)
    return replace(cfg, stages=stages)
