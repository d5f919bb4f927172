"""One made-up study through all that comes before the model: the student's processor, each prompt of an arm, the texts
of all its teachers, the token limits. What passes here does not stop after an hour for a template or a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from apo_lightning.batching.collate import Collator
from apo_lightning.errors import ConfigError, DataError, first_line
from apo_lightning.experiment import rejecting
from apo_lightning.experiment.preferred import writes
from apo_lightning.models.processor import load_config, load_processor
from apo_lightning.probes.wordings import QUESTION, spoken
from apo_lightning.settings import ExperimentSettings, rounds
from apo_lightning.stages import STAGES
from apo_lightning.types import PREFERRED, Branch, BranchBatch, Example, Study, Trajectory
from data_modules.base import CXRDataModule

SIDE = 1024
"""Pixels on each side of the made-up radiograph: more than any student's processor keeps."""
TEXT = "No pneumothorax. Small left pleural effusion."
SAMPLE = 16
"""Studies whose images are opened to find the ones that need most room."""
DISTIL = "stages.self_distill.prompt"
LIKELIHOOD = "evaluate.likelihood.form"


def on_disk(model: str) -> bool:
    """Whether a model's files can be looked at; a published name may be right without having been downloaded."""
    try:
        load_config(model, local_files_only=True)
    except ConfigError:
        return False
    return True


def learns_from_reports(cfg: ExperimentSettings) -> bool:
    """Whether some arm has a stage that reads the prompt of self-distillation beside the plain one."""
    run = {name for arm in cfg.arms.values() for name in arm.stages}
    return any(getattr(STAGES.get(name), "reads_reports", False) for name in run)


def depends_on(cfg: ExperimentSettings) -> list[Any]:
    """What `rehearse` looks at, so that arms that share it are looked at once."""
    prompts = [cfg.prompt, cfg.stages.self_distill.prompt, cfg.evaluate.prompt, cfg.evaluate.findings]
    prompts.append(cfg.evaluate.likelihood.form)
    lengths = [cfg.stages.self_distill.max_new_tokens, cfg.evaluate.max_new_tokens]
    heard = [list(cfg.teachers), cfg.pool.select, writes(cfg), _writes(cfg)]
    asked = [cfg.stages.self_distill.splits, cfg.evaluate.split, learns_from_reports(cfg)]
    asked += [asdict(own) for name, own in vars(cfg.stages).items() if rounds.first(name) == "self_distill" != name]
    sets = {name: asdict(own) for name, own in cfg.evaluate.sets.items()}
    return [asdict(cfg.student), prompts, lengths, heard, asked, cfg.data, cfg.evaluate.data, sets]


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
    processor, made = _processor(cfg), {}
    for key, (name, listed) in _prompts(cfg, findings, cfg.evaluate.findings or findings).items():
        with _refusing(cfg, key, name, processor):
            collate = _collator(cfg, processor, name, listed)
            made[key] = collate([(_study(cfg, collate.reads_reports), [_radiograph()])])
    _check_positions(cfg)
    return made["prompt"]


def rehearse_on(cfg: ExperimentSettings, data: CXRDataModule) -> None:
    """Every prompt of an arm with studies of its own data: in each split those that need most room. A prompt that
    cannot fit, though nothing is left of its teachers' texts, is found before anything is trained.

    Args:
        cfg: the arm's resolved settings; its student's files are on disk.
        data: checked.

    Raises:
        ConfigError: a prompt cannot be made of a study, or is too long.
    """
    processor, counted = _processor(cfg), data.scored_findings if cfg.evaluate.split == "test" else ()
    splits = {"prompt": ["train"], DISTIL: cfg.stages.self_distill.splits, "evaluate.prompt": [cfg.evaluate.split]}
    splits[LIKELIHOOD] = [cfg.evaluate.split]
    for key, (name, listed) in _prompts(cfg, data.findings, counted or data.findings).items():
        with _refusing(cfg, key, name, processor):
            collate = _collator(cfg, processor, name, listed)
            for study, images in (each for split in splits[key] for each in _roomiest(data, split)):
                collate([(Example(study, (), _said(cfg, study.id)), images)])


def rehearse_set(cfg: ExperimentSettings, name: str, data: CXRDataModule) -> None:
    """The question that a further set is asked, with those of its own studies that need most room.

    Raises:
        ConfigError: it cannot be made of a study, or is too long.
    """
    processor, prompt = _processor(cfg), question(cfg, name)
    with _refusing(cfg, f"evaluate.sets.{name}.prompt", prompt, processor):
        collate = _collator(cfg, processor, prompt, data.scored_findings)
        for study, images in _roomiest(data, "test"):
            collate([(Example(study), images)])


def question(cfg: ExperimentSettings, name: str) -> str:
    """The prompt that a further set is asked."""
    return cfg.of_set(name).evaluate.prompt or cfg.prompt


def _prompts(
    cfg: ExperimentSettings, findings: Sequence[str], counted: Sequence[str]
) -> dict[str, tuple[str, Sequence[str]]]:
    """Key to name and listed findings of each prompt that some arm asks."""
    asked = {"prompt": (cfg.prompt, findings), "evaluate.prompt": (cfg.evaluate.prompt or cfg.prompt, counted)}
    if cfg.evaluate.likelihood.form == QUESTION:
        asked[LIKELIHOOD] = (QUESTION, [max(map(spoken, counted), key=len)])
    if writes(cfg) or learns_from_reports(cfg) or "texts" in _writes(cfg):
        asked[DISTIL] = (cfg.stages.self_distill.prompt, findings)
    return asked


def _processor(cfg: ExperimentSettings) -> Any:
    return load_processor(cfg.student.model, cfg.student.min_pixels, cfg.student.max_pixels)


def _collator(cfg: ExperimentSettings, processor: Any, name: str, findings: Sequence[str]) -> Collator:
    student = cfg.student
    return Collator(
        processor,
        prompt=name,
        findings=findings,
        keys=True,
        max_prompt_tokens=student.max_prompt_tokens,
        max_branch_tokens=student.max_branch_tokens,
        max_context_tokens=student.max_context_tokens,
    )


@contextmanager
def _refusing(cfg: ExperimentSettings, key: str, name: str, processor: Any) -> Iterator[None]:
    """Inside, whatever goes wrong is a ConfigError with the key of the prompt."""
    try:
        yield
    except (DataError, ConfigError) as error:
        raise ConfigError(f"{key} '{name}' cannot be asked of a study: {error}") from error
    except Exception as error:  # whatever the family's processor raises, it would raise in training too
        raise ConfigError(
            f"{key} '{name}' cannot be made into tokens by the processor of student.model '{cfg.student.model}' "
            f"({type(processor).__name__}): {type(error).__name__}: {first_line(error)}."
        ) from error


def _roomiest(data: CXRDataModule, split: str) -> list[tuple[Study, list[Image.Image]]]:
    """Of the studies with the most images, `SAMPLE` of which are looked at, those with the most pixels and with the
    widest and the tallest image."""
    studies = data.studies(split)
    counts = [len(study.images) + len(study.prior.images if study.prior else ()) for study in studies]
    most = [study for study, count in zip(studies, counts, strict=True) if count == max(counts)]
    shown = []
    for study in most[:: max(1, len(most) // SAMPLE)][:SAMPLE]:
        with suppress(DataError):  # of a large set not every image was opened; one that cannot be is named in training
            shown.append((study, data.images(study)))
    if not shown:
        return []
    ranks = (_pixels, lambda own: max(map(_width, own)), lambda own: -min(map(_width, own)))
    found = [max(shown, key=lambda each: rank(each[1])) for rank in ranks]
    return list({study.id: (study, images) for study, images in found}.values())


def _pixels(images: Sequence[Image.Image]) -> int:
    return sum(image.width * image.height for image in images)


def _width(image: Image.Image) -> float:
    """In heights."""
    return image.width / image.height


def _said(cfg: ExperimentSettings, study: str) -> tuple[Trajectory, ...]:
    """A short text of each teacher that an arm hears."""
    select = cfg.pool.select
    heard = select if isinstance(select, list) else list(cfg.teachers)[: 1 if select == "best_on_val" else None]
    return tuple(Trajectory(study, name, TEXT) for name in heard)


def _study(cfg: ExperimentSettings, reads: bool) -> Example:
    study = Study("made up", "nobody", "train", (), {})
    if reads:
        return Example(study, (), _said(cfg, study.id))
    return Example(study, (Branch(PREFERRED, TEXT), *(Branch(name, TEXT) for name in cfg.teachers)))


def _writes(cfg: ExperimentSettings) -> set[str]:
    """What the student is shown where it writes negatives: teachers' ``texts`` too, or the ``image`` alone."""
    return {"texts" if own.shows else "image" for own in rejecting.writers(cfg)}


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
    if "image" in _writes(cfg):
        lengths["student.max_prompt_tokens + stages.self_distill.max_new_tokens"] = (
            cfg.student.max_prompt_tokens + distill.max_new_tokens
        )
    if writes(cfg) or "texts" in _writes(cfg):
        lengths["student.max_context_tokens + stages.self_distill.max_new_tokens"] = (
            cfg.student.max_context_tokens + distill.max_new_tokens
        )
    if learns_from_reports(cfg):
        lengths["student.max_context_tokens + student.max_branch_tokens"] = (
            cfg.student.max_context_tokens + cfg.student.max_branch_tokens
        )
    for key, length in lengths.items():
        if most and length > most:
            raise ConfigError(
                f"{key} is {length}, and student.model '{cfg.student.model}' has {most} positions. Lower one."
            )
