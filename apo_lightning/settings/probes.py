"""How an evaluation asks for what a student knows beside its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apo_lightning.settings.checks import check_choices, positive


@dataclass
class LikelihoodSettings:
    """How likely the student finds it that a finding is present, as a probability.

    ``statements`` compares statements in several wordings ("Edema: yes", "There is no edema") as beginnings of its
    answer to the evaluation's prompt: one pass per study. ``yes_no`` asks for each finding ("Is there edema? Answer yes
    or no."): one pass per finding. ``off``: neither.
    """

    form: Literal["statements", "yes_no", "off"] = "statements"
    normalize: Literal["sum", "token_mean"] = "sum"
    """``sum``: log-probs of statements as they are, so that what is compared are the probabilities of beginning an
    answer so, and wordings that the student hardly uses have no say. ``token_mean``: divided by the number of tokens,
    so that all wordings have one, and long ones no malus."""
    wordings: int = 2
    """Pairs of statements per finding, the first ones of `probes.wordings`. For the embedded student a third ranks no
    better and costs as much as all its answers."""

    in_place: int = 3
    """Sentences of its own per side, between which the student decides where its answer does (`probes.in_place`); 0:
    not asked."""

    def __post_init__(self) -> None:
        check_choices(self)
        positive(wordings=self.wordings)
        if self.in_place < 0:
            raise ValueError(f"in_place must be >= 0 (0 switches it off), got {self.in_place}")


@dataclass
class SamplingSettings:
    """How the answers of a vote are drawn; all else is as for the one answer."""

    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        positive(temperature=self.temperature, top_p=self.top_p)
        if self.top_p > 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
