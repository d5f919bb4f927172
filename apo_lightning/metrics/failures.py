"""The signs of a run that fails, as the paper's digest names them, and what to do about each.

Two places look for them: training (`training_failures`, step by step) and the answers afterwards (`answer_failures`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

NO_CONVERGENCE = "no_convergence"
STYLE_ALONE = "style_alone"
BIAS = "bias_amplification"
COLLAPSE = "performance_collapse"
ADVICE = {
    NO_CONVERGENCE: (
        "Raise stages.apo.optim.lr, the number of steps, or stages.apo.loss.beta; look at whether t+ differs from the "
        "teachers' texts at all (stages.apo.drop_copies)."
    ),
    STYLE_ALONE: (
        "Give negatives in t+'s own words (stages.self_distill on one teacher each), count only the sentences that "
        "conflict (stages.apo.loss.name=apo_conflict), or add stages.apo.loss.nll_weight; a margin is no progress here."
    ),
    BIAS: (
        "Lower teachers.<name>.weight, train SPD for fewer steps, or hear more teachers; look at whether t+ takes that "
        "teacher's side where it conflicts with the others."
    ),
    COLLAPSE: (
        "Lower stages.<stage>.optim.lr, train for fewer steps, or hold t+ in place with stages.apo.loss.nll_weight; a "
        "student that is too small for the task fails the same way whatever the rate."
    ),
}
"""Signature to what to change."""


@dataclass(frozen=True)
class Failure:
    """One sign that was found.

    Attributes:
        signature: a key of `ADVICE`.
        step: optimiser step at which it was first seen; None for what was found in answers.
        value, threshold: what was measured, and the limit that it has crossed.
        warning: what is wrong, in plain words.
    """

    signature: str
    step: int | None
    value: float
    threshold: float
    warning: str

    @property
    def advice(self) -> str:
        return ADVICE[self.signature]

    def row(self) -> dict[str, Any]:
        """As ``failures.json`` has it."""
        return {**asdict(self), "advice": self.advice}


def check_limits(settings: Any, shares: tuple[str, ...]) -> None:
    """
    Raises:
        ValueError: a limit is negative, or one of ``shares`` lies outside [0, 1]; names it with its value.
    """
    for name, value in asdict(settings).items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be >= 0, got {value}")
        if name in shares and value > 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
