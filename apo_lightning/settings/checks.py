"""Checks that several settings share, and the marker of a value that must be given."""

from __future__ import annotations

import math
from typing import Any

REQUIRED: Any = "???"
"""OmegaConf's marker for a value that must be given."""


def choice(key: str, value: str, allowed: tuple[str, ...], why: str = "") -> None:
    if value != REQUIRED and value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}{why and f' ({why})'}, got '{value}'")


def positive(**values: float | int | None) -> None:
    for key, value in values.items():
        if value is not None and value != REQUIRED and not 0 < value < math.inf:
            raise ValueError(f"{key} must be > 0, got {value}")
