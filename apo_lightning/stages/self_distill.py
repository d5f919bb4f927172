"""Compare: the student reads every teacher's trajectory and writes the one it prefers (t+)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning.pytorch import LightningModule

from apo_lightning.stages import STAGES
from apo_lightning.student import Student
from apo_lightning.types import PromptBatch


@dataclass(frozen=True)
class Written:
    """One prediction batch, with its number so that it can be filed and skipped later; each study has one or more
    texts."""

    number: int
    studies: list[str]
    texts: list[list[str]]


class Writer(LightningModule):
    """Lets a student answer prompts. Self-distillation and evaluation differ only in the prompt they are given."""

    def __init__(self, student: Student, *, seed: int, max_new_tokens: int, sample: bool = False,
                 temperature: float = 1.0, top_p: float = 1.0, samples: int = 1) -> None:  # fmt: skip
        super().__init__()
        self.student, self.seed = student, seed
        self.how = dict(
            max_new_tokens=max_new_tokens, sample=sample, temperature=temperature, top_p=top_p, samples=samples
        )

    def predict_step(self, batch: tuple[int, PromptBatch], batch_idx: int) -> Written:
        number, prompts = batch
        torch.manual_seed(self.seed * 1_000_003 + number)  # by batch, so that a continued run samples the same
        return Written(number, prompts.studies, self.student.generate(prompts, **self.how))


@STAGES.register("self_distill")
class SelfDistill(Writer):
    """`t+ ~ q(. | image, question, tau_1 .. tau_N)`."""

    name = "self_distill"
