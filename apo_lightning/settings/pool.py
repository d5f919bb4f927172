"""What teachers' answers cost, which of them are cheap enough to be left, and what is done where they conflict."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from apo_lightning.settings.checks import check_choices


@dataclass
class PriceSettings:
    """What a teacher asks for. Money is counted in one unit, whatever it is."""

    input: float = 0.0
    """Of a million tokens that it reads."""
    output: float = 0.0
    """Of a million tokens that it writes."""
    seconds: float = 0.0
    """That one answer takes."""

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{key} must be a number of at least 0, got {value}")


@dataclass
class PruneSettings:
    """How ``pool.select: cheapest`` chooses: the cheapest teachers whose vote on validation studies is as good as that
    of all, up to ``loss``."""

    loss: float = 0.01
    """By how much their vote's mean accuracy may be below that of all teachers."""
    by: Literal["money", "tokens", "requests"] = "requests"
    """What is to be saved."""
    at_least: int = 1
    """Teachers that must be left."""
    prompt_tokens: int = 1000
    """Tokens of a request, image and question, where nobody counted them."""
    prices: dict[str, PriceSettings] = field(default_factory=dict)
    """Teacher to price, made up for simulated ones."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss must be in [0, 1), got {self.loss}")
        if self.at_least < 1:
            raise ValueError(f"at_least must be >= 1, got {self.at_least}")
        if self.prompt_tokens < 0:
            raise ValueError(f"prompt_tokens must be >= 0, got {self.prompt_tokens}")


@dataclass
class GateSettings:
    """What is done with training studies, and with findings of one, on which teachers conflict more than a threshold
    (scores in [0, 1], see `drift.conflict`). SPD and the preference stage obey it; t+ is written of all studies."""

    studies: float | None = None
    """Above this conflict score of a study; None: of no study."""
    findings: float | None = None
    """Above this conflict score of a finding in a study; None: of no finding."""
    action: Literal["report", "leave_out", "weight"] = "report"
    """``report``: they are counted, and nothing is trained otherwise. ``leave_out``: no such study, and no sentence of
    a teacher that states such a finding. ``weight``: such a study counts less, and so does a teacher by the share of
    such findings among those that its text states."""
    weight: float = 0.25
    """What is left of the weight."""

    def __post_init__(self) -> None:
        check_choices(self)
        for key in ("studies", "findings"):
            value = getattr(self, key)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{key} must be in [0, 1] or null, got {value}")
        if self.studies is None and self.findings is None:
            raise ValueError("studies or findings must be a threshold in [0, 1]: both are null")
        if not 0 < self.weight < 1:
            raise ValueError(f"weight must be in (0, 1) (leave_out stands for 0), got {self.weight}")
