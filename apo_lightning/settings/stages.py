"""The stages: optimiser, how long one trains, how texts are written."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from apo_lightning.settings.checks import REQUIRED, check_choices
from apo_lightning.settings.checks import positive as _positive

LOW, HIGH = ("loss", "nll", "perplexity", "error"), ("accuracy", "margin", "reward", "logp", "auroc", "f1")
"""Parts of a metric's name that say whether it is better when low or when high."""


@dataclass
class OptimSettings:
    """AdamW with warm-up and a schedule.

    ``name`` is how its two moments are kept: ``adamw`` in float32, ``adamw_8bit`` in 8 bits; paged ones (on a GPU) go
    to the host's memory where the device's is full. All but ``adamw`` are bitsandbytes'.
    """

    name: Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"] = "adamw"
    lr: float = REQUIRED
    weight_decay: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    warmup: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        check_choices(self)
        _positive(lr=self.lr, grad_clip=self.grad_clip)
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {self.warmup}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be >= 0, got {self.weight_decay}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {self.betas}")


@dataclass
class FitSettings:
    """A stage that trains: its loss, its optimiser, and how long. ``steps`` counts optimiser steps."""

    loss: dict[str, Any] = REQUIRED
    optim: OptimSettings = field(default_factory=OptimSettings)
    steps: int = REQUIRED
    batch_studies: int = REQUIRED
    accumulate: int = 1
    checkpoint_every: int = 50
    keep: Literal["last", "best"] = "last"
    """What is handed on: the weights of the last step, or those that were best on the validation split."""
    monitor: str = "val/loss"
    """What ``keep: best`` compares, as the stage logs it."""
    mode: Literal["min", "max"] | None = None
    """Which of its values is better; null: as its name says (a loss is better when low, an accuracy when high)."""
    negatives: dict[str, Any] = field(default_factory=lambda: {"name": "raw"})
    """What t+ is compared with, by a strategy (``apo_lightning/negatives``); ``raw``: every teacher's text."""
    drop_refusals: bool = True
    drop_copies: bool = True
    """Negatives only: refusals (and empty texts), and exact copies of the preferred trajectory."""
    drop_cut: bool = False
    """Leave out studies whose t+ ran into ``max_new_tokens``; otherwise it is taught without an end-of-turn token."""

    def __post_init__(self) -> None:
        _positive(steps=self.steps, batch_studies=self.batch_studies)
        _positive(accumulate=self.accumulate, checkpoint_every=self.checkpoint_every)
        if not self.monitor.startswith("val/"):
            raise ValueError(
                f"monitor must be a metric of the validation split, such as val/loss, got '{self.monitor}'"
            )
        if self.keep == "best":
            self.direction()

    def direction(self) -> str:
        """``min`` or ``max``: which values of ``monitor`` are better.

        Raises:
            ValueError: neither ``mode`` nor the name says it.
        """
        name = self.monitor.removeprefix("val/")
        low, high = (any(word in name for word in words) for words in (LOW, HIGH))
        if self.mode is None and low == high:
            raise ValueError(f"mode must be min or max, since the name of monitor, '{self.monitor}', does not say it")
        return self.mode or ("min" if low else "max")


@dataclass
class DecodingSettings:
    """How texts are written: greedy, or sampled. Decoding settings that came with a model are not used."""

    max_new_tokens: int = REQUIRED
    sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """Most likely tokens that are drawn from; 0: all."""
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        _positive(max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p)
        _positive(repetition_penalty=self.repetition_penalty)
        if self.top_p > 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        for key in ("top_k", "no_repeat_ngram_size"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be >= 0 (0 switches it off), got {getattr(self, key)}")

    def decoding(self) -> dict[str, Any]:
        """These settings alone, of a section that has more: what a manifest says of how texts were written."""
        return {own.name: getattr(self, own.name) for own in fields(DecodingSettings)}


@dataclass
class SelfDistillSettings(DecodingSettings):
    """How t+ is found: by a strategy (``apo_lightning/positives``); ``student`` reads every teacher and writes."""

    positive: dict[str, Any] = field(default_factory=lambda: {"name": "student"})
    prompt: str = "reconcile"
    batch_studies: int = REQUIRED
    samples: int = 1
    """Texts per study; of several, t+ is the one that agrees best with the others in what it states."""
    splits: list[str] = field(default_factory=lambda: ["train", "val", "test"])

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(batch_studies=self.batch_studies, samples=self.samples)
        if self.samples != REQUIRED and self.samples > 1 and not self.sample:
            raise ValueError(f"samples must be 1 unless sample is true (greedy texts are alike), got {self.samples}")


@dataclass
class StagesSettings:
    """learn, compare, critique."""

    spd: FitSettings = field(default_factory=FitSettings)
    self_distill: SelfDistillSettings = field(default_factory=SelfDistillSettings)
    apo: FitSettings = field(default_factory=FitSettings)
