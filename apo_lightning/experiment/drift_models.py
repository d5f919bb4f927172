"""The models that ``apo drift`` asks: the common scorer of all teachers' texts, and the sentence encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from apo_lightning.batching.collate import Collator
from apo_lightning.drift import embeddings, steps
from apo_lightning.drift.embeddings import EmbeddingSteps, Encoder
from apo_lightning.drift.run import STEPS
from apo_lightning.drift.steps import StepDivergence
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.drift_sources import Source
from apo_lightning.models.saved import RECORD
from apo_lightning.models.student import Student
from apo_lightning.models.text_only import TextProcessor, load_text_network, load_text_processor, reads_text_only
from apo_lightning.progress import watch
from apo_lightning.reports.folder import stage_folders
from apo_lightning.settings import StudentSettings
from apo_lightning.types import Branch, Example, Study

OWN = "run"
"""Stands for the student that a run has trained on its teachers."""
PROMPT = "diagnose"
LIMITS = dict(max_prompt_tokens=8192, max_branch_tokens=2048, max_context_tokens=8192)
"""Of a scorer without a run."""


def divergence(source: Source, named: str, studies: int, run: Path | None = None) -> tuple[list[StepDivergence], str]:
    """Divergence under one scorer, of at most so many studies spread over the stream; and what the scorer is.

    Args:
        named: a saved student's folder, a model as ``student.model`` names it, or `OWN`.
        run: folder of the run, where the texts are of one.

    Raises:
        ConfigError, ArtifactError: there is no such model.
    """
    settings, saved = _named(source, named, run)
    student = _loaded(settings, saved)
    sees = bool(source.data) and not isinstance(student.processor, TextProcessor)
    student = student.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    collate = Collator.of(student, source.cfg.prompt if source.cfg else PROMPT, source.corpus.findings)
    chosen = _spread(source.corpus.studies, studies)
    asked = watch(_asked(source, chosen, sees), len(chosen), "asking the scorer")
    found = steps.measure(student, asked, collate, source.corpus.teachers, steps=STEPS)
    seen = "image and question" if sees else "the question alone"
    return found, f"{_title(named, saved, settings)}, which sees {seen}"


def _loaded(settings: StudentSettings, saved: Path | None) -> Student:
    """A student, or a model that reads text only behind the same face."""
    if saved is None and settings.model != "nano" and reads_text_only(settings.model):
        return Student(load_text_network(settings), load_text_processor(settings.model), settings)
    return Student.load(settings, saved)


def _named(source: Source, named: str, run: Path | None) -> tuple[StudentSettings, Path | None]:
    base = source.cfg.student if source.cfg else StudentSettings(model="nano", **LIMITS)
    if named == OWN:
        if run is None:
            raise ConfigError("--student needs a model where the texts are of a file: --student nano, or a folder.")
        trained = [one.path / "student" for one in stage_folders(run, "spd") if (one.path / "student").is_dir()]
        return base, trained[0] if trained else None
    if (Path(named) / RECORD).is_file():
        return base, Path(named)
    return replace(base, model=named, min_pixels=None, max_pixels=None), None


def _title(named: str, saved: Path | None, settings: StudentSettings) -> str:
    if named == OWN:
        return f"the student after SPD ({settings.model})" if saved else f"the base model ({settings.model})"
    return shown(named)


def shown(place: str) -> str:
    """A model as a reader is told of it: its name on the hub, or the end of its path.

    >>> shown("/data/models/minilm/model"), shown("Qwen/Qwen2.5-VL-7B-Instruct")
    ('minilm/model', 'Qwen/Qwen2.5-VL-7B-Instruct')
    """
    return "/".join(Path(place).parts[-2:])


def _spread(studies: Sequence[str], most: int) -> list[str]:
    every = -(-len(studies) // most) or 1
    return list(studies[::every])


def _asked(source: Source, chosen: Sequence[str], sees: bool) -> Iterator[tuple[Example, list[Image.Image]]]:
    known = {s.id: s for name in ("train", "val", "test") for s in source.data.studies(name)} if source.data else {}
    for name in chosen:
        study = known.get(name, Study(name, name, "train", (), {}))
        own = source.corpus.texts[name]
        branches = tuple(Branch(t, own[t]) for t in source.corpus.teachers if own.get(t, "").strip())
        yield Example(study, branches), source.data.images(study) if source.data and sees else []


def embedding(source: Source, folder: Path) -> list[EmbeddingSteps]:
    """Cosine distance by step under the sentence encoder of a folder.

    Raises:
        ConfigError: there is none.
    """
    encoder = Encoder.load(folder)
    texts = dict(watch(source.corpus.texts.items(), len(source.corpus.studies), "encoding sentences"))
    return embeddings.measure(encoder, texts, source.corpus.teachers, steps=STEPS)
