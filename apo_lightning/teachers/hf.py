"""An open model that runs here and writes its texts itself: a vision model that students may be too, or any causal
language model, as a folder, a hub name or a GGUF file.

``apo collect`` lets it write (`writing.write_texts`); a run reads what it has written, and asks it nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from apo_lightning.errors import ConfigError, DataError
from apo_lightning.models.student import Student
from apo_lightning.models.text_only import load_text_network, load_text_processor, reads_text_only
from apo_lightning.settings import AdapterSettings, StudentSettings
from apo_lightning.settings.checks import check_choices, positive
from apo_lightning.settings.stages import DecodingSettings
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import check_stream
from apo_lightning.teachers.recorded import Recorded
from apo_lightning.types import Study, Trajectory


@TEACHERS.register("hf")
@dataclass(frozen=True, kw_only=True)
class Hf(Recorded):
    """A local model; ``path`` is the file that its texts are written to and read from.

    Attributes:
        model: as ``student.model``: ``nano``, a folder, a hub name; a model that reads text only may be a GGUF file.
        student: folder of a saved student whose adapters lie over it (``<run>/<arm>/seed<k>/<stage>/student``).
        prompt: what it is asked; None: the experiment's prompt. In one with ``$reports`` it reads the study's own
            report, which a model that reads text only has to.
        decoding: how it writes.
        seed: of what it draws, where it draws.
        batch_studies: texts that are written at a time.
        dtype: precision of its weights and products.
        bits: 4 loads the weights in 4 bits (NF4).
        min_pixels, max_pixels: limits of an image, for families that have them.
        max_prompt_tokens: of the prompt with its images; a report beyond it loses its end.
    """

    model: str
    student: str | None = None
    prompt: str | None = None
    decoding: DecodingSettings = field(default_factory=lambda: DecodingSettings(max_new_tokens=256))
    seed: int = 0
    batch_studies: int = 8
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    bits: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_prompt_tokens: int = 4096

    def __post_init__(self) -> None:
        check_choices(self)
        positive(batch_studies=self.batch_studies, max_prompt_tokens=self.max_prompt_tokens)
        positive(min_pixels=self.min_pixels, max_pixels=self.max_pixels)
        if self.bits not in (None, 4):
            raise ValueError(f"bits must be 4, or be left out for whole weights, got {self.bits}")

    def signal(self, studies: Sequence[Study], t: Sequence[float]) -> list[Trajectory]:
        """What it has written, as `Recorded`.

        Raises:
            DataError: it has written nothing yet, or the file is malformed.
        """
        check_stream(studies, t)
        if not Path(self.path).is_file():
            raise DataError(f"teachers.{self.name} has written no texts yet: {self.path} is not there. {self.way_out}")
        return super().signal(studies, t)

    @property
    def way_out(self) -> str:
        return "Let it write them: apo collect EXPERIMENT."

    def open(self) -> Student:
        """The frozen model with its tokenizer, as a student that is not trained.

        Raises:
            ConfigError, ArtifactError: the model or the saved student cannot be read, or does not fit.
        """
        with self._named():
            settings = self._settings()
            if not reads_text_only(self.model):
                return Student.load(settings, Path(self.student) if self.student else None)
            if self.student:
                raise ConfigError(f"teachers.{self.name}.student lies over student.model, which reads text only.")
            return Student(load_text_network(settings), load_text_processor(self.model), settings)

    def _settings(self) -> StudentSettings:
        return StudentSettings(
            model=self.model,
            adapter=AdapterSettings(kind="qlora" if self.bits else "lora"),
            dtype=self.dtype,
            min_pixels=self.min_pixels,
            max_pixels=self.max_pixels,
            max_prompt_tokens=self.max_prompt_tokens,
            max_branch_tokens=self.max_prompt_tokens + self.decoding.max_new_tokens,
            max_context_tokens=self.max_prompt_tokens,
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Inside, what is said of the student's settings is said of the teacher's."""
        try:
            yield
        except ConfigError as error:
            said = str(error).replace("student.", f"teachers.{self.name}.")
            raise ConfigError(f"{said} What does not fit can be served and asked (kind: api).") from error
