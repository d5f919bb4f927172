"""Lets an open model write: one text a study, kept as soon as its batch is written, and never written twice."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from PIL import Image
from torch import Tensor

from apo_lightning import prompts
from apo_lightning.batching.collate import Collator
from apo_lightning.console import Console
from apo_lightning.errors import ConfigError
from apo_lightning.files import atomic, jsonlines, locks
from apo_lightning.models.text_only import reads_text_only
from apo_lightning.teachers.hf import Hf
from apo_lightning.trajectories import records
from apo_lightning.types import Answer, Example, Study, Trajectory

log = logging.getLogger(__name__)

Images = Callable[[Study], Sequence[Image.Image]]
"""Opens the images of a study, as `CXRDataModule.images` does."""


@dataclass(frozen=True)
class Written:
    """What became of the studies that a model was asked about.

    Attributes:
        asked: studies in all.
        kept: of these the ones whose text was there already.
        written: those that were written now.
        cut: texts that ran into ``decoding.max_new_tokens``, of those written now.
        empty: texts without a word, of those written now.
        without_report: studies that have no report, where the prompt shows one; they are not asked.
    """

    asked: int
    kept: int = 0
    written: int = 0
    cut: int = 0
    empty: int = 0
    without_report: int = 0


def write_texts(
    teacher: Hf,
    studies: Sequence[Study],
    images: Images,
    *,
    findings: Sequence[str],
    prompt: str,
    told: Callable[[Written], None] = lambda written: None,
) -> Written:
    """Let ``teacher`` write about every study that its file has no text of, batch by batch, each kept at once. Two that
    do so at a time wait for each other.

    Args:
        teacher: of the kind ``hf``.
        studies: each once.
        images: opens those of a study.
        findings: what the prompt lists.
        prompt: the experiment's, for a teacher that names none.
        told: is called after each batch.

    Raises:
        ConfigError: the model or the prompt does not fit.
        DataError: the file of texts is malformed, or an image cannot be read.
    """
    name = teacher.prompt or prompt
    with locks.held(Path(f"{teacher.path}.lock"), f"teachers.{teacher.name}", Console(stderr=True).print):
        done, asked = _texts(teacher), _askable(name, studies)
        left = [study for study in asked if study.id not in done]
        counts = Written(len(studies), len(asked) - len(left), without_report=len(studies) - len(asked))
        if left:
            ask = _Asking(teacher, name, findings, images)
            for batch in _batches(left, teacher.batch_studies):
                answers = ask(batch)
                for study, answer in zip(batch, answers, strict=True):
                    _append(teacher, study, answer)
                counts = _more(counts, answers)
                told(counts)
    _tell(teacher, counts)
    return counts


class _Asking:
    """The model of a teacher, ready to be asked about studies."""

    def __init__(self, teacher: Hf, prompt: str, findings: Sequence[str], images: Images) -> None:
        self.sees = not reads_text_only(teacher.model)
        if not self.sees and "reports" not in prompts.load(prompt).get_identifiers():
            raise ConfigError(
                f"teachers.{teacher.name}: its model reads text only, and its prompt '{prompt}' has no $reports: it "
                "would be asked the same of every study. Set its prompt to explain_report, or to one of your own."
            )
        self.teacher, self.images = teacher, images
        self.student = teacher.open()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.student.to(self.device)
        self.collate = Collator.of(self.student, prompt, findings)

    def __call__(self, studies: Sequence[Study]) -> list[Answer]:
        """One answer a study. What is drawn is decided by the seed and the studies of the batch."""
        items = [(as_example(study), self.images(study) if self.sees else ()) for study in studies]
        batch = apply_to_collection(self.collate(items), Tensor, lambda tensor: tensor.to(self.device))
        names = zlib.crc32("\n".join(study.id for study in studies).encode())
        torch.manual_seed(self.teacher.seed * 1_000_003 + names)
        return [answers[0] for answers in self.student.write(batch, self.teacher.decoding)]


def as_example(study: Study, *branches: Any) -> Example:
    """A study with its report to read, where it has one and the prompt shows it."""
    return Example(study, tuple(branches), (Trajectory(study.id, "report", study.report),) if study.report else ())


def _askable(prompt: str, studies: Sequence[Study]) -> list[Study]:
    """Those that the prompt can be filled with."""
    reads = "reports" in prompts.load(prompt).get_identifiers()
    return [study for study in studies if not reads or (study.report or "").strip()]


def _texts(teacher: Hf) -> dict[str, str]:
    """Study to text, of those that are whole; a last line that a kill cut off is taken away."""
    path = Path(teacher.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return {}
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        atomic.write_bytes(path, content[: content.rfind(b"\n") + 1])
    own = teacher.teacher or teacher.name
    return {row["study"]: row["text"] for row in records.read(path) if row["teacher"] == own}


def _append(teacher: Hf, study: Study, answer: Answer) -> None:
    row = {"study": study.id, "teacher": teacher.teacher or teacher.name, "text": answer.text}
    jsonlines.append(Path(teacher.path), row)


def _batches(studies: Sequence[Study], size: int) -> Iterator[list[Study]]:
    left = iter(studies)
    while batch := list(islice(left, size)):
        yield batch


def _more(counts: Written, answers: Sequence[Answer]) -> Written:
    return replace(
        counts,
        written=counts.written + len(answers),
        cut=counts.cut + sum(answer.cut for answer in answers),
        empty=counts.empty + sum(not answer.text for answer in answers),
    )


def _tell(teacher: Hf, counts: Written) -> None:
    where = f"teachers.{teacher.name}"
    if counts.without_report:
        log.warning("%s: %d studies have no report, and are not asked.", where, counts.without_report)
    if counts.cut:
        log.warning(
            "%s: %d of %d texts ran into decoding.max_new_tokens (%d) and have no end of their own.",
            where,
            counts.cut,
            counts.written,
            teacher.decoding.max_new_tokens,
        )
