"""A run's student that answers questions about images.

student = TrainedStudent.of("runs/smoke", "apo_listwise")
reply = student.ask("image.png")
print(reply.text, reply.present)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from lightning.fabric.utilities import move_data_to_device
from PIL import Image

from apo_lightning import prompts
from apo_lightning.batching.collate import Collator
from apo_lightning.errors import ConfigError, DataError
from apo_lightning.experiment import trainer
from apo_lightning.models.student import Student
from apo_lightning.settings import DecodingSettings
from apo_lightning.text.labeler import kind, parse
from apo_lightning.text.thinking import ThinkingPolicy
from apo_lightning.types import Answer, Example, Study
from apo_lightning.using import images
from apo_lightning.using.chosen import Chosen, choose


@dataclass(frozen=True)
class Reply:
    """What a student answers.

    Attributes:
        text: its words.
        findings: finding to 1.0 present, 0.0 absent, NaN not stated, as they are read in the text.
        kind: ``stated``, ``normal``, ``refused`` or ``nothing``, as in predictions.jsonl.
        cut: it ran into the limit of new tokens (``evaluate.max_new_tokens``).
    """

    text: str
    findings: dict[str, float]
    kind: str
    cut: bool

    @property
    def present(self) -> list[str]:
        return [name for name, value in self.findings.items() if value == 1]

    @property
    def absent(self) -> list[str]:
        return [name for name, value in self.findings.items() if value == 0]


class Asking(Collator):
    """Batches studies under a question in the user's own words."""

    question: str | None = None
    """None: the prompt."""

    def _render(self, images: int, reports: Sequence[str], labels: Any = None) -> str:
        if self.question is None:
            return super()._render(images, reports, labels)
        content = [{"type": "text", "text": self.read.escape_special_tokens(self.question)}]
        turn = {"role": "user", "content": [*[{"type": "image"}] * images, *content]}
        return self.processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)


class TrainedStudent:
    """A student with the question it was trained on, and the run's way to read images and to write answers.

    Args:
        chosen: which.
        student: where it is loaded already; None: it is read from the run.
    """

    def __init__(self, chosen: Chosen, student: Student | None = None) -> None:
        self.chosen, cfg = chosen, chosen.cfg
        self.listed, self.scored = chosen.findings, chosen.scored
        self.device = trainer.device(cfg.trainer)
        self.student = (student or chosen.load()).to(self.device).eval()
        self.limits, self.how = images.limits_of(cfg), DecodingSettings(**cfg.evaluate.decoding())
        self.as_read = ThinkingPolicy(**asdict(cfg.thinking)).as_read

    @classmethod
    def of(
        cls, run: str | Path, arm: str | None = None, seed: int | None = None, *, runs_dir: Path = Path("runs")
    ) -> Self:
        """The newest student of an arm, see `choose`.

        Raises:
            ConfigError, ArtifactError: there is none.
        """
        return cls(choose(run, arm, seed, runs_dir=runs_dir))

    @property
    def prompt(self) -> str:
        """The question that it was trained on, in full."""
        return prompts.render(self.chosen.cfg.prompt, self.listed)

    def ask(self, image: str | Path | Sequence[str | Path], question: str | None = None) -> Reply:
        """Its answer about one study.

        Args:
            image: file of the study's image, or several in the order that the run's data set has them (an earlier
                examination first).
            question: None: the prompt that it was trained with.

        Raises:
            DataError: an image cannot be read or is refused, or the prompt is longer than the student reads.
            ConfigError: there is no image, or the question is empty.
        """
        paths = [Path(image)] if isinstance(image, str | Path) else [Path(path) for path in image]
        if not paths:
            raise ConfigError("There is no image to ask about: give one or more files.")
        return self.reply([("the images given", images.read(paths, self.limits))], question)[0]

    def ask_each(
        self, paths: Iterable[str | Path], question: str | None = None
    ) -> Iterator[tuple[Path, Reply | DataError]]:
        """An answer about each file, a study of its own; in place of one, why the file cannot be read.

        ``evaluate.batch_studies`` files are answered at a time.
        """
        size, every = self.chosen.cfg.evaluate.batch_studies, [Path(path) for path in paths]
        for start in range(0, len(every), size):
            read = {path: self._read(path) for path in every[start : start + size]}
            shown = [(str(path), [image]) for path, image in read.items() if isinstance(image, Image.Image)]
            said = self._answers(shown, question)
            yield from ((path, said.get(str(path), image)) for path, image in read.items())

    def _answers(
        self, shown: list[tuple[str, list[Image.Image]]], question: str | None
    ) -> dict[str, Reply | DataError]:
        """Answer, or what is wrong, by name: one whose prompt is too long is told from the others."""
        try:
            return dict(zip((name for name, _ in shown), self.reply(shown, question) if shown else (), strict=True))
        except DataError as error:
            if len(shown) == 1:
                return {shown[0][0]: error}
        return {name: said for one in shown for name, said in self._answers([one], question).items()}

    def _read(self, path: Path) -> Image.Image | DataError:
        try:
            return images.read([path], self.limits)[0]
        except DataError as error:
            return error

    @torch.no_grad()
    def reply(self, studies: Sequence[tuple[str, list[Image.Image]]], question: str | None = None) -> list[Reply]:
        """Answers about studies whose images are read already (PIL mode ``L``), each with the name that errors use.

        Raises:
            DataError: a prompt is longer than the student reads.
            ConfigError: the question is empty.
        """
        items = [(Example(Study(name, name, "test", (), {})), shown) for name, shown in studies]
        batch = move_data_to_device(self.collator(question)(items), self.device)
        torch.manual_seed(self.chosen.seed)
        return [self._said(answers[0]) for answers in self.student.write(batch, self.how)]

    def collator(self, question: str | None = None) -> Asking:
        """Makes batches of the question, or of the prompt."""
        if question is not None and not question.strip():
            raise ConfigError("The question is empty. Leave it out to ask what the student was trained with.")
        made = Asking.of(self.student, self.chosen.cfg.prompt, self.listed)
        made.question = question
        return made

    def _said(self, answer: Answer) -> Reply:
        text = self.as_read(answer.text)
        found = {name: float(value) for name, value in parse(text, self.scored).items()}
        return Reply(
            answer.text, {**dict.fromkeys(self.scored, math.nan), **found}, kind(text, self.scored), answer.cut
        )
