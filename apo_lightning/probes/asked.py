"""A student and the studies that it is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apo_lightning.batching import examples
from apo_lightning.batching.collate import Collator
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.models.student import Student
from apo_lightning.probes.flips import Swapping
from apo_lightning.settings import DecodingSettings, EvaluateSettings
from apo_lightning.stages.generate import Writer
from apo_lightning.types import Answer, Study
from data_modules.base import CXRDataModule

if TYPE_CHECKING:
    from apo_lightning.experiment.pipeline import Pipeline


@dataclass(frozen=True)
class Asked:
    """An evaluation: who is asked, what, and about which studies.

    Attributes:
        pipeline: of the arm and seed.
        student: who answers.
        data: the set that is answered.
        folder: where the results go.
        findings: those that are scored.
    """

    pipeline: Pipeline
    student: Student
    data: CXRDataModule
    folder: StageFolder
    findings: tuple[str, ...]

    @property
    def plan(self) -> EvaluateSettings:
        return self.pipeline.cfg.evaluate

    @property
    def studies(self) -> list[Study]:
        return self.data.studies(self.plan.split)

    @property
    def prompt(self) -> str:
        return self.plan.prompt or self.pipeline.cfg.prompt

    @property
    def listed(self) -> tuple[str, ...]:
        """Findings that the prompt lists."""
        return tuple(self.data.scored_findings if self.plan.split == "test" else self.data.findings)

    @property
    def courses(self) -> bool:
        """Whether studies are labelled with the course of their findings, and are asked for it."""
        return any(study.progression for study in self.studies)

    def collator(self, prompt: str, findings: Sequence[str]) -> Collator:
        return self.pipeline.collator(self.student, prompt, findings)

    def answers(self, studies: Sequence[Study], *, how: DecodingSettings | None = None, samples: int = 1,
                beside: str = "", swapped: bool = False) -> dict[str, list[Answer]]:  # fmt: skip
        """One or more answers to each study.

        Args:
            studies: who is asked about.
            how: decoding; None: as the evaluation says.
            samples: answers per study.
            beside: names the answers that are not the ones that are read; an interrupted call finds its own again.
            swapped: show the earlier and the current image in the other order.
        """
        writer = Writer(self.student, how or self.plan, seed=self.pipeline.seed, samples=samples)
        collate: Any = self.collator(self.prompt, self.listed)
        collate = Swapping(collate) if swapped else collate
        size = max(1, self.plan.batch_studies // samples)
        parts = self.folder.path / "parts" / beside if beside else self.folder.path
        return self.pipeline.answers(writer, examples.plain(studies), collate, size, parts, self.data)
