"""How a stage trains: its loss, its optimiser, how long, and which of its weights it hands on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from apo_lightning.settings.checks import REQUIRED
from apo_lightning.settings.checks import choice as _choice
from apo_lightning.settings.checks import positive as _positive


@dataclass
class OptimSettings:
    """AdamW with warm-up and a schedule."""

    lr: float = REQUIRED
    weight_decay: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    warmup: float = 0.05
    schedule: str = "cosine"
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        _choice("schedule", self.schedule, ("cosine", "constant"))
        _positive(lr=self.lr, grad_clip=self.grad_clip)
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {self.warmup}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be >= 0, got {self.weight_decay}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {self.betas}")


LOW, HIGH = ("loss", "nll", "perplexity", "error"), ("accuracy", "margin", "reward", "logp", "auroc", "f1")
"""Parts of a metric's name that say whether it is better when low or when high."""


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
