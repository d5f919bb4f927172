"""Compare: the student reads every teacher's trajectory and writes the one it prefers (t+)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from apo_lightning.models.student import Student
from apo_lightning.settings import DecodingSettings
from apo_lightning.stages import STAGES
from apo_lightning.stages.staying import Staying
from apo_lightning.types import Answer, PromptBatch


@dataclass(frozen=True)
class Written:
    """One prediction batch, with its number so that it can be filed and skipped later; each study has one or more
    answers."""

    number: int
    studies: list[str]
    answers: list[list[Answer]]

    def to(self, *where: Any, **how: Any) -> Self:
        """Itself: there is no tensor in it. Without this Lightning would look for some, and change frozen records."""
        return self


class Writer(Staying):
    """Lets a student answer prompts. Self-distillation and evaluation differ only in the prompt they are given.

    Args:
        how: decoding settings; nothing else has a say.
        samples: answers a study.
    """

    def __init__(self, student: Student, how: DecodingSettings, *, seed: int, samples: int = 1) -> None:
        super().__init__()
        self.student, self.how, self.seed, self.samples = student, how, seed, samples

    def predict_step(self, batch: tuple[int, PromptBatch], batch_idx: int) -> Written:
        number, prompts = batch
        torch.manual_seed(self.seed * 1_000_003 + number)  # by batch, so that a continued run samples the same
        return Written(number, prompts.studies, self.student.write(prompts, self.how, self.samples))


@STAGES.register("self_distill")
class SelfDistill(Writer):
    """`t+ ~ q(. | image, question, tau_1 .. tau_N)`."""

    name: ClassVar[str] = "self_distill"
    reads: ClassVar[tuple[str, ...]] = ("trajectories", "student")
    writes: ClassVar[tuple[str, ...]] = ("preferred",)
