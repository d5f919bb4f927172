"""A model behind an address: asked by ``apo collect`` and by nothing else. A run reads what was collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.collecting.journal import Answer, Journal
from apo_lightning.collecting.request import asks, words_of
from apo_lightning.errors import DataError
from apo_lightning.hashing.contents import digest
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import check_stream
from apo_lightning.types import Study, Trajectory

SPLITS = ("train", "val", "test")


@TEACHERS.register("api")
@dataclass(frozen=True, kw_only=True)
class Api(Endpoint):
    """A teacher behind an address that speaks OpenAI's protocol (or one that litellm knows).

    Attributes:
        name: the key under ``teachers:``.
        folder: where the answers of all teachers lie, a file for each; other experiments may share it.
        splits: it is asked about the studies of these.
        max_missing: share of the studies that it may have no answer to, in [0, 1].
        listed: findings that the prompt lists; given by the program, not by a file.
    """

    name: str
    folder: str = "data/collected"
    splits: list[str] = field(default_factory=lambda: list(SPLITS))
    max_missing: float = 0.0
    listed: list[str] = field(default_factory=list)

    gives: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.max_missing <= 1:
            raise ValueError(f"max_missing must be in [0, 1], got {self.max_missing}")
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise ValueError(f"splits must be some of {', '.join(SPLITS)}, got [{', '.join(map(str, self.splits))}]")

    @property
    def journal(self) -> Journal:
        return Journal(Path(self.folder), self.name)

    def signal(self, studies: Sequence[Study], t: Sequence[float]) -> list[Trajectory]:
        """What was collected, marked answers too. Nothing is asked.

        Raises:
            DataError: more studies than ``max_missing`` have no answer to what would be asked today.
            ArtifactError: the journal cannot be read.
        """
        check_stream(studies, t)
        places = {study.id: place for study, place in zip(studies, t, strict=True)}
        found = [replace(text, t=places[text.study]) for text in self.texts(studies)]
        asked = [study for study in studies if study.split in self.splits]
        if len(asked) - len(found) > self.max_missing * len(asked):
            raise DataError(self._missing(len(asked) - len(found), len(asked)))
        return found

    def counted(self, studies: Sequence[Study]) -> dict[str, Answer]:
        """Study to the answer that `signal` tells, with the tokens and the seconds that it took.

        Raises:
            ArtifactError: the journal cannot be read.
        """
        known, wanted = self.journal.read().by_asks(), [study for study in studies if study.split in self.splits]
        keys = {study.id: asks(self, study.id, words_of(self, study, self.listed)) for study in wanted}
        return {study: known[key] for study, key in keys.items() if key in known}

    def texts(self, studies: Sequence[Study]) -> list[Trajectory]:
        """What was collected of ``studies``, in their order, as far as there is something.

        Raises:
            ArtifactError: the journal cannot be read.
        """
        return [
            Trajectory(study, self.name, said(answer), prompt=self.prompt)
            for study, answer in self.counted(studies).items()
        ]

    def fingerprint(self, studies: Sequence[Study]) -> str:
        """Hash of what it says of ``studies``: a run depends on that, not on how it was asked."""
        return digest([[text.study, text.text, text.prompt] for text in self.texts(studies)])

    def _missing(self, missing: int, asked: int) -> str:
        others = len(self.journal.read().by_asks())
        there = (
            f"; it holds answers to {others:,} questions asked in another way" if missing == asked and others else ""
        )
        way = f", or let so many be missing: teachers.{self.name}.max_missing={missing / asked + 5e-4:.3f}"
        return (
            f"teachers.{self.name}: {missing:,} of {asked:,} studies have no answer of {self.model} to the prompt "
            f"'{self.prompt}' in {self.journal.path}{there}. Collect them: apo collect EXPERIMENT with the same "
            f"settings (--dry-run says what it costs){way if missing < asked else ''}."
        )


def said(answer: Answer) -> str:
    """An answer as a trajectory: what was thought before it stands in tags, as models write it themselves."""
    return f"<think>{answer.thinking}</think>\n{answer.text}" if answer.thinking else answer.text
