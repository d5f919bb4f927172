"""Sections of an experiment file that ask nothing of the others; `settings.py` has the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass
class EvaluationSet:
    """One further set that an arm's student answers, without having been trained on it."""

    title: str
    """What tables call it."""
    data: dict[str, Any]
    """A data set with its settings. Its test split is answered, each finding of its own list."""
    prompt: str | None = None
    """What is asked; None: what the experiment's own evaluation asks."""
    probes: bool = True
    """Ask here, too, what the experiment's own evaluation asks beside the one answer: likelihoods and samples for a
    vote. They cost several times the answers."""

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ValueError("title must not be empty: tables call the set by it")


@dataclass
class CurvePoint:
    """Says that an arm is a point of a curve: where it lies on the axis, and on which line."""

    axis: str
    """What the axis counts, as ``teachers heard``."""
    x: float
    line: str
    """What the points of one line share, as ``SFT on t+``."""

    def __post_init__(self) -> None:
        for key in ("axis", "line"):
            if not getattr(self, key).strip():
                raise ValueError(f"{key} must not be empty")
        if not math.isfinite(self.x):
            raise ValueError(f"x must be a finite number, got {self.x}")


@dataclass
class CacheSettings:
    """What is kept on disk, beside the stages of the store, and shared by arms, seeds and sweep trials."""

    reference: bool = True
    """Log-probs under the reference: they depend on neither beta, teacher weights nor loss."""
    features: bool = False
    """Image features. Pays where the tower is slow; 9 MB an image for a 7B student at a megapixel."""


@dataclass
class ThinkingSettings:
    """What is done with the thinking that a text shows before its answer (``<think>...</think>`` and the like)."""

    taught: bool = False
    """The student learns from, and reads, teachers' texts with their thinking; else their answers alone."""
    judged: bool = False
    """What is thought is read like the answer: in refusals, conflicts and accuracy; else the answer alone."""
