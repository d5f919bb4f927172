"""The model of a teacher, ready to be asked about studies: what it writes, and how likely each token of a text was."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from PIL import Image
from torch import Tensor

from apo_lightning import prompts
from apo_lightning.batching.collate import Collator, Item
from apo_lightning.caches.log_probs import LogProbs, identity
from apo_lightning.errors import ConfigError
from apo_lightning.functional.teacher_logits import TopK
from apo_lightning.hashing.contents import digest, file_digest
from apo_lightning.models.processor import locate
from apo_lightning.models.student import Student
from apo_lightning.models.text_only import TextProcessor
from apo_lightning.models.vocabularies import Vocabulary
from apo_lightning.teachers.hf import Hf
from apo_lightning.types import Answer, Branch, Example, PromptBatch, Study, Trajectory

Images = Callable[[Study], Sequence[Image.Image]]
"""Opens the images of a study, as `CXRDataModule.images` does."""
ENOUGH = 1 << 20
"""Tokens of a text that are looked at, at most: a student cuts by its own limit."""


class Asking:
    """A teacher under one prompt. Its weights are read once they are needed.

    Args:
        teacher: see `Hf`.
        prompt: name of what it is asked.
        findings: what the prompt lists.
        images: opens those of a study; not called for a model that reads text only.

    Raises:
        ConfigError: its processor cannot be read, or the prompt would ask the same of every study.
    """

    def __init__(self, teacher: Hf, prompt: str, findings: Sequence[str], images: Images) -> None:
        self.teacher, self.prompt, self.findings, self.images = teacher, prompt, findings, images
        self.processor = teacher.processor()
        self.sees = not isinstance(self.processor, TextProcessor)
        if not self.sees and not prompts.tells_answer(prompt):
            raise ConfigError(
                f"teachers.{teacher.name}: its model reads text only, and its prompt '{prompt}' has neither "
                "$reports nor $labels: it would be asked the same of every study. Set its prompt to explain_report, or "
                "to one of your own."
            )
        most = teacher.max_prompt_tokens
        limits = dict(max_prompt_tokens=most, max_context_tokens=most, max_branch_tokens=ENOUGH)
        self.collate = Collator(self.processor, prompt=prompt, findings=findings, tells_labels=True, **limits)

    @cached_property
    def student(self) -> Student:
        """The network, on the accelerator where there is one."""
        return self.teacher.open().to(self.device)

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def log_probs(self) -> LogProbs | None:
        """The file of log-probs, where some are kept.

        Raises:
            ArtifactError: it is damaged, or holds what another model or prompt gave; says what differs.
        """
        own = self.teacher.log_probs
        return own and LogProbs(Path(own.path), identity(own.k, own.temperature, own.precision, **self._who()))

    def _who(self) -> dict[str, Any]:
        """Whose log-probs they are: of which weights, in which precision, asked what."""
        own, words = self.teacher, Vocabulary.of(self.processor)
        return {
            "vocabulary": words.size,
            **words.facts(),
            "model": weights(own.model),
            "student": file_digest(Path(own.student)) if own.student else "none",
            "weights": f"{own.dtype}, {'4 bits' if own.bits else 'whole'}",
            "images": f"pixels {own.min_pixels} to {own.max_pixels}" if self.sees else "none",
            "prompt": digest([prompts.load(self.prompt).template, list(self.findings), own.max_prompt_tokens]),
        }

    def write(self, studies: Sequence[Study]) -> list[Answer]:
        """One answer a study. What is drawn is decided by the seed and the studies of the batch."""
        names = zlib.crc32("\n".join(study.id for study in studies).encode())
        torch.manual_seed(self.teacher.seed * 1_000_003 + names)
        batch = self._batch([self._item(study) for study in studies])
        return [answers[0] for answers in self.student.write(batch, self.teacher.decoding)]

    def is_recorded(self, study: Study, text: str) -> bool:
        """Whether the file has the log-probs of this very text."""
        return self.log_probs.difference(study.id, self.collate.encode_answer(Branch("", text))[0]) is None

    def record(self, said: Sequence[tuple[Study, str]]) -> int:
        """Keep the log-probs of texts; returns the number of tokens.

        Raises:
            ArtifactError: the disk is full.
        """
        own = self.teacher.log_probs
        batch = self._batch([self._item(study, Branch(self.teacher.name, text)) for study, text in said])
        found = self.student.top_k(batch, own.k, own.temperature)
        rows: list[tuple[str, Tensor, TopK]] = []
        for (b, u), top in sorted(found.items()):
            rows.append((batch.studies[b], batch.branch_ids[b, u, : len(top.ids)], top))
        self.log_probs.write(rows)
        return sum(len(tokens) for _, tokens, _ in rows)

    def _item(self, study: Study, *branches: Branch) -> Item:
        return as_example(study, *branches), self.images(study) if self.sees else ()

    def _batch(self, items: Sequence[Item]) -> PromptBatch:
        return apply_to_collection(self.collate(items), Tensor, lambda tensor: tensor.to(self.device))


def reads_reports(prompt: str) -> bool:
    return "reports" in prompts.load(prompt).get_identifiers()


def as_example(study: Study, *branches: Branch) -> Example:
    """A study with its report to read, where it has one and the prompt shows it."""
    return Example(study, branches, (Trajectory(study.id, "report", study.report),) if study.report else ())


def weights(model: str) -> str:
    """A model by its content; a hub name, whose files lie elsewhere, by the name."""
    place = Path(locate(model))
    return file_digest(place) if place.exists() else model
