"""How long prompts and answers are: of the experiment's own studies and texts where they are here, else its limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean

from apo_lightning.errors import ApoError, DataError
from apo_lightning.settings import ExperimentSettings

SAMPLE = 32
"""Studies that are looked at."""


@dataclass(frozen=True)
class Lengths:
    """Tokens.

    Attributes:
        prompt: of a prompt with its image, the longest that was seen.
        answer: of an answer, the longest; ``usual``: the mean.
        answers: of a study, the preferred one included.
        studies: by split, where the data was read.
        source: in words.
    """

    prompt: int
    answer: int
    usual: float
    answers: int
    studies: dict[str, int]
    source: str


def of_limits(cfg: ExperimentSettings, answers: int, studies: dict[str, int] | None = None) -> Lengths:
    """The most that the settings let through."""
    own = cfg.student
    return Lengths(
        own.max_prompt_tokens,
        own.max_branch_tokens,
        own.max_branch_tokens,
        answers,
        studies or {},
        "the limits student.max_prompt_tokens and student.max_branch_tokens, so memory and times are the most",
    )


def measured(cfg: ExperimentSettings) -> Lengths:
    """Of up to `SAMPLE` training studies and all that their teachers say of them.

    Raises:
        ApoError: data, texts or processor are not here.
    """
    from apo_lightning import config
    from apo_lightning.batching.collate import Collator
    from apo_lightning.experiment import checks
    from apo_lightning.models.processor import load_processor
    from apo_lightning.teachers import TEACHERS
    from apo_lightning.types import Branch, Example

    own, data = cfg.student, checks.checked_data(cfg)
    processor = load_processor(own.model, own.min_pixels, own.max_pixels)
    limits = dict(max_prompt_tokens=own.max_prompt_tokens, max_branch_tokens=own.max_branch_tokens)
    collate = Collator(
        processor, prompt=cfg.prompt, findings=data.findings, max_context_tokens=own.max_context_tokens, **limits
    )
    studies = data.studies("train")
    seen = studies[:: max(1, math.ceil(len(studies) / SAMPLE))]
    if not seen:
        raise DataError("there is no study to train on")
    texts: dict[str, list[Branch]] = {study.id: [] for study in seen}
    for name, section in cfg.teachers.items():
        teacher = config.build(TEACHERS, section, f"teachers.{name}", "kind", name=name)
        for said in teacher.signal(seen, [0.0] * len(seen)):
            texts[said.study].append(Branch(name, said.text))
    prompts, answers = [], []
    for study in seen:
        batch = collate([(Example(study, tuple(texts[study.id])), data.images(study))])
        prompts.append(int(batch.prefix_mask.sum()))
        answers += batch.branch_mask.sum(-1).flatten().tolist()
    heard = max(map(len, texts.values()))
    counts = {split: len(data.studies(split)) for split in ("train", "val", "test")}
    return Lengths(
        max(prompts), max(answers), mean(answers), 1 + heard, counts, f"{len(seen)} studies of the training split"
    )


def known(cfg: ExperimentSettings) -> tuple[Lengths, str]:
    """Measured lengths; or those of the limits, with the reason."""
    try:
        return measured(cfg), ""
    except ApoError as error:
        return of_limits(cfg, 1 + len(cfg.teachers)), str(error).split(". ")[0]
