"""A local model whose token distributions can be asked for: texts from a file, distributions from the model itself.

The texts are what this model (or another) wrote, in the form that `recorded` reads; the distributions are taken on
those texts while the student trains. The model must have the student's tokenizer and image layout, as a larger model of
the student's family, or a student of an earlier run, has. Where it does not fit beside the student, `hf` records the
likeliest tokens beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from apo_lightning.models.network import Networks
from apo_lightning.models.processor import load_processor
from apo_lightning.models.student import Student
from apo_lightning.settings import StudentSettings
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.hf import named
from apo_lightning.teachers.recorded import Recorded


@TEACHERS.register("hf_logits")
@dataclass(frozen=True)
class HfLogits(Recorded):
    """`Recorded` texts with a model behind them.

    Attributes:
        model: as ``student.model``: ``nano``, a folder, or a hub name; not given: the student's own base.
        student: folder of a saved student whose adapters lie over it (``<run>/<arm>/seed<k>/<stage>/student``).
        bits: 4 loads the weights in 4 bits (NF4); not given: as the student has them.
    """

    model: str | None = None
    student: str | None = None
    bits: int | None = None

    gives: ClassVar[str] = "logits"
    later: ClassVar[tuple[str, ...]] = (*Recorded.later, "bits")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in (None, 4):
            raise ValueError(f"bits must be 4, or be left out, got {self.bits}")

    def load(self, settings: StudentSettings, networks: Networks | None = None) -> Student:
        """The frozen model, in the precision and with the pixel limits of the student that learns from it. One over the
        student's own base shares its weights, where ``networks`` holds them.

        Raises:
            ConfigError, ArtifactError: the model or the saved student cannot be read.
        """
        own = replace(settings, model=self.model or settings.model)
        if self.bits:
            own = replace(own, adapter=replace(own.adapter, kind="qlora"))
        with named(self.name):
            return Student.load(own, Path(self.student) if self.student else None, networks)

    def processor(self) -> Any:
        """Its tokenizer and image processor, without its weights.

        Raises:
            ConfigError: the model has none that can be read, or is not the kind that a student is.
        """
        with named(self.name):
            return load_processor(self.model)
