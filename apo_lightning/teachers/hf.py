"""An open model that runs here and writes its texts itself: a vision model that students may be too, or any causal
language model, as a folder, a hub name or a GGUF file.

``apo collect`` lets it write (`writing.write_texts`); a run reads what it has written, and asks it nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from apo_lightning.caches.log_probs import LogProbs
from apo_lightning.errors import ArtifactError, ConfigError, DataError
from apo_lightning.hashing.contents import digest, file_digest
from apo_lightning.models.network import Networks
from apo_lightning.models.processor import load_config, load_processor
from apo_lightning.models.student import Student
from apo_lightning.models.text_only import is_gguf, load_text_network, load_text_processor, reads_text_only
from apo_lightning.settings import AdapterSettings, StudentSettings
from apo_lightning.settings.checks import check_choices, positive
from apo_lightning.settings.stages import DecodingSettings
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import check_stream
from apo_lightning.teachers.recorded import Recorded
from apo_lightning.types import Study, Trajectory


@dataclass(frozen=True)
class LogProbSettings:
    """How the likeliest next tokens at each token of a text are kept.

    Attributes:
        path: file of them, see `caches.log_probs`.
        k: how many a token; of all others the mass is kept.
        precision: ``float32`` as the model gives them, ``float16`` in half of the room.
        temperature: of the softmax; a loss must have the same, since a mass cannot be brought to another.
    """

    path: str
    k: int = 32
    precision: Literal["float32", "float16"] = "float32"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_choices(self)
        positive(k=self.k, temperature=self.temperature)


@TEACHERS.register("hf")
@dataclass(frozen=True, kw_only=True)
class Hf(Recorded):
    """A local model; ``path`` is the file that its texts are written to and read from.

    Attributes:
        model: as ``student.model``: ``nano``, a folder, a hub name; a model that reads text only may be a GGUF file.
        student: folder of a saved student whose adapters lie over it (``<run>/<arm>/seed<k>/<stage>/student``).
        prompt: what it is asked; None: the experiment's prompt. In one with ``$reports`` it reads the study's own
            report, in one with ``$labels`` its labels; a model that reads text only has to.
        decoding: how it writes.
        seed: of what it draws, where it draws.
        batch_studies: texts that are written at a time.
        dtype: precision of its weights and products.
        bits: 4 loads the weights in 4 bits (NF4).
        min_pixels, max_pixels: limits of an image, for families that have them.
        max_prompt_tokens: of the prompt with its images; a report beyond it loses its end.
        log_probs: keep the likeliest tokens too, so that a student can learn from them token by token (``spd_kl``).
    """

    model: str
    student: str | None = None
    decoding: DecodingSettings = field(default_factory=lambda: DecodingSettings(max_new_tokens=256))
    seed: int = 0
    batch_studies: int = 8
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    bits: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_prompt_tokens: int = 4096
    log_probs: LogProbSettings | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
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
            raise DataError(
                f"teachers.{self.name} has written no texts yet: {self.path} is not there. Let it write them: apo "
                "collect EXPERIMENT."
            )
        return super().signal(studies, t)

    def fingerprint(self, studies: Sequence[Study]) -> str:
        """Hash of what it says of ``studies`` and of what was recorded of it: a run depends on that, not on how it came
        to be."""
        texts = [[said.study, said.text, said.prompt] for said in self.signal(studies, [0.0] * len(studies))]
        kept = Path(self.log_probs.path) if self.log_probs else None
        return digest([texts, file_digest(kept) if kept and kept.is_file() else None])

    @property
    def gives(self) -> str:
        return "logits" if self.log_probs else "text"

    def load(self, settings: StudentSettings, networks: Networks | None = None) -> LogProbs:
        """What was recorded of it; the model is not asked.

        Raises:
            DataError: nothing was.
            ArtifactError: the file is damaged, or was recorded with other settings.
        """
        own, where = self.log_probs, f"teachers.{self.name}.log_probs"
        try:
            file = LogProbs(Path(own.path))
        except DataError as error:
            raise DataError(f"{where}: {error} Record them: apo collect EXPERIMENT.") from None
        held, wanted = ({key: getattr(x, key) for key in ("k", "temperature", "precision")} for x in (file, own))
        if held != wanted:
            raise ArtifactError(
                f"{where} asks for {wanted}, and {own.path} was recorded with {held}. Ask for these, or "
                "give another path and record anew: apo collect EXPERIMENT."
            )
        return file

    def processor(self) -> Any:
        """Its tokenizer and, where it looks at images, its image processor, without its weights.

        Raises:
            ConfigError: it has none that can be read.
        """
        with named(self.name):
            if reads_text_only(self.model):
                return load_text_processor(self.model)
            return load_processor(self.model, self.min_pixels, self.max_pixels)

    def open(self) -> Student:
        """The frozen model with its tokenizer, as a student that is not trained.

        Raises:
            ConfigError, ArtifactError: the model or the saved student cannot be read, or does not fit.
        """
        with named(self.name):
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


def is_here(model: str) -> bool:
    """Whether a model's files can be looked at on this disk; a run on what was recorded of it does not need them."""
    if is_gguf(model):
        return Path(model).is_file()
    try:
        load_config(model, local_files_only=True)
    except ConfigError:
        return False
    return True


@contextmanager
def named(teacher: str) -> Iterator[None]:
    """Inside, what is said of the student's settings is said of a teacher's."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(str(error).replace("student.", f"teachers.{teacher}.")) from error
