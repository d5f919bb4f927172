"""One made-up study through all that comes before the model: the student's processor, each prompt of an arm, the texts
of all its teachers, the token limits. What passes here does not stop after an hour for a template or a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from apo_lightning.collate import Collator
from apo_lightning.errors import ConfigError, DataError, first_line
from apo_lightning.processor import load_config, load_processor
from apo_lightning.settings import ExperimentSettings
from apo_lightning.types import PREFERRED, Branch, BranchBatch, Example, Study, Trajectory

SIDE = 1024
"""Pixels on each side of the made-up radiograph: more than any student's processor keeps."""
TEXT = "No pneumothorax. Small left pleural effusion."


def on_disk(model: str) -> bool:
    """Whether a model's files can be looked at; a published name may be right without having been downloaded."""
    try:
        load_config(model, local_files_only=True)
    except ConfigError:
        return False
    return True


def depends_on(cfg: ExperimentSettings) -> list[Any]:
    """What `rehearse` looks at, so that arms that share it are looked at once."""
    prompts = [cfg.prompt, cfg.stages.self_distill.prompt, cfg.evaluate.prompt, cfg.evaluate.findings]
    lengths = [cfg.stages.self_distill.max_new_tokens, cfg.evaluate.max_new_tokens]
    return [asdict(cfg.student), prompts, lengths, list(cfg.teachers), cfg.data, cfg.evaluate.data]


def rehearse(cfg: ExperimentSettings, findings: Sequence[str]) -> BranchBatch:
    """Collate one study for every stage of an arm.

    Args:
        cfg: the arm's resolved settings; its student's files are on disk.
        findings: what the data set's prompts list.

    Returns:
        the batch that APO would see.

    Raises:
        ConfigError: the processor cannot be built, or a prompt cannot be made of a study, or is too long.
    """
    student = cfg.student
    processor = load_processor(student.model, student.min_pixels, student.max_pixels)
    limits = dict(
        max_prompt_tokens=student.max_prompt_tokens, max_branch_tokens=student.max_branch_tokens,
        max_context_tokens=student.max_context_tokens,
    )  # fmt: skip
    asked = {
        "prompt": (cfg.prompt, findings),
        "stages.self_distill.prompt": (cfg.stages.self_distill.prompt, findings),
        "evaluate.prompt": (cfg.evaluate.prompt or cfg.prompt, cfg.evaluate.findings or findings),
    }
    made = {}
    for key, (name, listed) in asked.items():
        try:
            collate = Collator(processor, prompt=name, findings=listed, keys=True, **limits)
            made[key] = collate([(_study(cfg, collate.reads_reports), [_radiograph()])])
        except (DataError, ConfigError) as error:
            raise ConfigError(f"{key} '{name}' cannot be asked of a study: {error}") from error
        except Exception as error:  # whatever the family's processor raises, it would raise in training too
            raise ConfigError(
                f"{key} '{name}' cannot be made into tokens by the processor of student.model '{student.model}' "
                f"({type(processor).__name__}): {type(error).__name__}: {first_line(error)}."
            ) from error
    _check_positions(cfg)
    return made["prompt"]


def _study(cfg: ExperimentSettings, reads: bool) -> Example:
    study = Study("made up", "nobody", "train", (), {})
    if reads:
        return Example(study, (), tuple(Trajectory(study.id, name, TEXT) for name in cfg.teachers))
    return Example(study, (Branch(PREFERRED, TEXT), *(Branch(name, TEXT) for name in cfg.teachers)))


def _radiograph() -> Image.Image:
    shades = np.linspace(0, 255, SIDE).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(shades, (SIDE, SIDE)).copy())


def _check_positions(cfg: ExperimentSettings) -> None:
    """A sequence that is longer than the model has positions for gives nonsense, not an error."""
    own: Any = load_config(cfg.student.model).get_text_config()
    most, distill = getattr(own, "max_position_embeddings", None), cfg.stages.self_distill
    lengths = {
        "student.max_prompt_tokens + student.max_branch_tokens": (
            cfg.student.max_prompt_tokens + cfg.student.max_branch_tokens
        ),
        "student.max_prompt_tokens + evaluate.max_new_tokens": (
            cfg.student.max_prompt_tokens + cfg.evaluate.max_new_tokens
        ),
    }
    if any("self_distill" in arm.stages for arm in cfg.arms.values()):
        lengths["student.max_context_tokens + stages.self_distill.max_new_tokens"] = (
            cfg.student.max_context_tokens + distill.max_new_tokens
        )
    for key, length in lengths.items():
        if most and length > most:
            raise ConfigError(
                f"{key} is {length}, and student.model '{cfg.student.model}' has {most} positions. Lower one."
            )
