"""The student: its model, how it is trained, how its answers are scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from apo_lightning.settings.checks import REQUIRED, check_choices
from apo_lightning.settings.checks import positive as _positive


@dataclass
class AdapterSettings:
    """How the student is trained: ``lora`` adapters, ``qlora`` (the same over 4-bit weights), or ``full``."""

    kind: Literal["lora", "qlora", "full"] = "lora"
    r: int = 8
    alpha: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self)
        _positive(r=self.r, alpha=self.alpha)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


@dataclass
class ScorerSettings:
    """How answers are scored: ``joint``, ``packed``, ``branchwise`` or ``separate`` (see `scoring.modes`); ``auto``
    takes packed on a GPU and joint on a CPU where they fit the memory, and branchwise elsewhere. All give the same
    numbers up to rounding."""

    mode: Literal["auto", "joint", "packed", "branchwise", "separate"] = "auto"
    rows: int | None = None
    """Answers that run at a time, at most."""
    memory_gb: float | None = None
    """What ``auto`` may plan with; null: most of what is free."""

    def __post_init__(self) -> None:
        check_choices(self)
        _positive(rows=self.rows, memory_gb=self.memory_gb)


@dataclass
class ServerSettings:
    """A server of vLLM or SGLang that holds the base model and writes for the student."""

    url: str | None = None
    """Its address, as ``http://127.0.0.1:8000/v1``; null: the student writes in this process."""
    key: str | None = None
    """NAME of the environment variable that holds its key; null: it wants none."""
    concurrency: int = 64
    """Questions that are under way at a time, of each process."""
    timeout: float = 600.0
    """Seconds that an answer may take."""

    def __post_init__(self) -> None:
        _positive(concurrency=self.concurrency, timeout=self.timeout)


@dataclass
class StudentSettings:
    """The vision-language model: ``nano`` (embedded), a folder, or a name on the Hugging Face hub."""

    model: str = REQUIRED
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    gradient_checkpointing: bool = False
    scorer: ScorerSettings = field(default_factory=ScorerSettings)
    compiled_writing: bool = False
    """Write answers by compiled steps over a cache of fixed size, on a GPU: twice as fast behind half a minute of
    compiling. The same answers up to rounding."""
    server: ServerSettings = field(default_factory=ServerSettings)
    """Who writes in the student's place, with its adapter: the same answers up to rounding."""
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_prompt_tokens: int = REQUIRED
    max_branch_tokens: int = REQUIRED
    max_context_tokens: int = REQUIRED
    """Budget of the reconcile prompt, which holds the texts of all teachers."""

    later: ClassVar[tuple[str, ...]] = ("compiled_writing",)
    """Not part of a stage's key while they are as they come."""
    never: ClassVar[tuple[str, ...]] = ("server",)
    """Not part of a stage's key, so that a run goes on with a server or without."""

    def __post_init__(self) -> None:
        check_choices(self)
        _positive(max_prompt_tokens=self.max_prompt_tokens, max_branch_tokens=self.max_branch_tokens)
        _positive(max_context_tokens=self.max_context_tokens, min_pixels=self.min_pixels, max_pixels=self.max_pixels)
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels must be at most max_pixels ({self.max_pixels}), got {self.min_pixels}")
