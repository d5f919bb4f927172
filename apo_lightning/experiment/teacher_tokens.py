"""Whether teachers give what a loss on their token distributions asks for: looked at when an experiment is built, and
with the texts that are taught before the first step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apo_lightning.caches.log_probs import LogProbs
from apo_lightning.config.rules import runs_stage
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import rehearsal
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.models.processor import load_processor
from apo_lightning.models.student import Student
from apo_lightning.recording import tokens
from apo_lightning.settings import ExperimentSettings
from apo_lightning.stages.spd import LOGITS
from apo_lightning.teachers.hf import is_here
from apo_lightning.types import Example


def require_logits(cfg: ExperimentSettings, teachers: Mapping[str, Any]) -> None:
    """Look at the teachers that an arm hears.

    Args:
        cfg: the arm's resolved settings.
        teachers: all of its teachers, built.

    Raises:
        ConfigError: the loss of SPD compares distributions, and a teacher gives none, gives those of another
            temperature or of another tokenizer, or gives the likeliest tokens alone where whole ones are mixed.
    """
    name = cfg.stages.spd.loss["name"] if runs_stage(cfg, "spd") else None
    wanted = needs(LOSSES[name]) & LOGITS if name else ()
    if not wanted:
        return
    select, loss = cfg.pool.select, f"stages.spd.loss '{name}'"
    heard = {name: own for name, own in teachers.items() if not isinstance(select, list) or name in select}
    if silent := [name for name, own in heard.items() if own.gives != "logits"]:
        raise ConfigError(
            f"{loss} needs teachers that give logits, and {', '.join(silent)} give text. Leave them out with "
            "pool.select, give them kind hf_logits (the model runs beside the student) or hf with log_probs (they are "
            "recorded beforehand), or use spd_nll."
        )
    recorded = {name: own for name, own in heard.items() if getattr(own, "log_probs", None)}
    if recorded and "mixture_divergence" in wanted:
        raise ConfigError(
            f"{loss} mixes whole distributions, and of {', '.join(recorded)} the likeliest tokens alone are recorded "
            "(log_probs). Use spd_kl, or give them kind hf_logits."
        )
    for name, own in recorded.items():
        _require_temperature(cfg, name, own.log_probs.temperature)
    if rehearsal.on_disk(cfg.student.model):
        _require_tokens(cfg, heard)


def _require_temperature(cfg: ExperimentSettings, name: str, recorded: float) -> None:
    asked = cfg.stages.spd.loss["temperature"]
    if asked != recorded:
        raise ConfigError(
            f"stages.spd.loss.temperature is {asked}, and teachers.{name}.log_probs.temperature {recorded}: the mass "
            "of the tokens that were not recorded is known at one temperature alone. Make them agree, and record anew "
            "where it is the teacher's that changes."
        )


def _require_tokens(cfg: ExperimentSettings, teachers: Mapping[str, Any]) -> None:
    """By what the ids mean, of each teacher whose tokenizer is on this disk; the texts come later."""
    student = load_processor(cfg.student.model, cfg.student.min_pixels, cfg.student.max_pixels)
    for name, own in teachers.items():
        if own.model and is_here(own.model):
            tokens.require_same_vocabulary(name, student, own.processor())


def of_teachers(own: Any, student: Student, examples: Iterable[Example]) -> dict[str, Student | LogProbs]:
    """What the teachers of an arm give beside their texts, once each was found to have the student's tokens.

    Args:
        own: the arm's context.
        student: that learns from them.
        examples: all that it is shown.

    Raises:
        ConfigError, DataError: one has not, or has log-probs of other texts.
    """
    shown, collate = list(examples), own.collator(student, own.cfg.prompt)
    found = {name: own.teacher(name).load(own.cfg.student, own.networks) for name in own.teachers}
    for name, teacher in found.items():
        of_teacher = tokens.of_file(teacher) if isinstance(teacher, LogProbs) else teacher.processor
        tokens.require_same_vocabulary(name, student.processor, of_teacher)
        tokens.require_same_texts(name, collate, teacher, shown)
    return found
