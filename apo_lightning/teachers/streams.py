"""How a made-up teacher's accuracy moves along the stream of studies."""

from __future__ import annotations

import math
from dataclasses import dataclass

DRIFTS = ("none", "sudden", "gradual", "recurring")


def shares(**values: float) -> None:
    """Refuse a value outside [0, 1].

    Raises:
        ValueError: names the key and the value.
    """
    for key, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{key} must be in [0, 1], got {value}")


@dataclass(frozen=True)
class StreamDrift:
    """How accuracy moves along the stream of studies. Over the whole stream it averages to 0.

    Attributes:
        kind: ``none``; ``sudden`` (falls by ``size`` at ``at``); ``gradual`` (falls by ``size`` from the first study to
            the last); ``recurring`` (high for half of every ``period``, lower by ``size`` for the other half).
        size: accuracy lost between the best and the worst time.
        at: t of the sudden fall.
        period: length of a recurring cycle, as a share of the stream.
    """

    kind: str = "none"
    size: float = 0.0
    at: float = 0.5
    period: float = 0.25

    def __post_init__(self) -> None:
        if self.kind not in DRIFTS:
            raise ValueError(f"kind must be one of {', '.join(DRIFTS)}, got '{self.kind}'")
        shares(size=self.size, at=self.at)
        if not 0 < self.period <= 1:
            raise ValueError(f"period must be in (0, 1], got {self.period}")

    def shift(self, t: float) -> float:
        """Accuracy added at place ``t`` of the stream."""
        if self.kind == "sudden":
            return self.size * (1 - self.at) if t < self.at else -self.size * self.at
        if self.kind == "gradual":
            return self.size * (0.5 - t)
        if self.kind == "recurring":
            good = math.floor(t / self.period * 2 + 1e-9) % 2 == 0
            return self.size * (1 - self._good_share) if good else -self.size * self._good_share
        return 0.0

    @property
    def _good_share(self) -> float:
        """Share of [0, 1] in good halves of the period."""
        whole = math.floor(1 / self.period + 1e-9)
        rest = max(0.0, 1 - whole * self.period)
        return whole * self.period / 2 + min(rest, self.period / 2)
