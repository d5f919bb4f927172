"""A student and the studies that it is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from apo_lightning.batching import examples
from apo_lightning.batching.collate import Collator
from apo_lightning.models.student import Student
from apo_lightning.probes.flips import Swapping
from apo_lightning.settings import DecodingSettings, EvaluateSettings
from apo_lightning.stages.generate import Writer
from apo_lightning.types import Answer, Study
from data_modules.base import CXRDataModule

Write = Callable[[Writer, list[Any], Any, int, str], dict[str, list[Answer]]]
"""Writer, examples, collator, batch size, and a name for answers beside those that are read, to answers by study."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An evaluation: who is asked, what, and about which studies.

    Attributes:
        student: who answers.
        data: the set that is answered.
        plan: settings of the evaluation.
        prompt: name of the question.
        findings: those that are scored.
        seed: of sampling.
        as_read: makes of a text what is read of it.
        device: where the student computes.
        collator: from a prompt and the findings that it lists.
        write: lets the student answer, and files that, so that an interrupted call goes on where it was.
    """

    student: Student
    data: CXRDataModule
    plan: EvaluateSettings
    prompt: str
    findings: tuple[str, ...]
    seed: int
    as_read: Callable[[str], str]
    device: torch.device
    collator: Callable[[str, Sequence[str]], Collator]
    write: Write

    @property
    def studies(self) -> list[Study]:
        return self.data.studies(self.plan.split)

    @property
    def listed(self) -> tuple[str, ...]:
        """Findings that the prompt lists."""
        return tuple(self.data.scored_findings if self.plan.split == "test" else self.data.findings)

    @property
    def courses(self) -> bool:
        """Whether studies are labelled with the course of their findings, and are asked for it."""
        return any(study.progression for study in self.studies)

    def answers(
        self,
        studies: Sequence[Study],
        *,
        how: DecodingSettings | None = None,
        samples: int = 1,
        beside: str = "",
        swapped: bool = False,
    ) -> dict[str, list[Answer]]:
        """One or more answers to each study.

        Args:
            studies: who is asked about.
            how: decoding; None: as the evaluation says.
            samples: answers per study.
            beside: names the answers that are not the ones that are read; an interrupted call finds its own again.
            swapped: show the earlier and the current image in the other order.
        """
        writer = Writer(self.student, how or self.plan, seed=self.seed, samples=samples)
        collate: Any = self.collator(self.prompt, self.listed)
        collate = Swapping(collate) if swapped else collate
        return self.write(writer, examples.plain(studies), collate, max(1, self.plan.batch_studies // samples), beside)
