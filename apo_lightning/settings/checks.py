"""Checks that several settings share, and the marker of a value that must be given."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

REQUIRED: Any = "???"
"""OmegaConf's marker for a value that must be given."""


def choice(key: str, value: str, allowed: tuple[str, ...], why: str = "") -> None:
    if value != REQUIRED and value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}{why and f' ({why})'}, got '{value}'")


def check_choices(settings: object) -> None:
    """Refuse a value outside the ``Literal`` that its field is annotated with.

    Raises:
        ValueError: names the field, the allowed values and the value.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        for kind in (hint, *get_args(hint)):
            if get_origin(kind) is Literal and value is not None and value not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}")


def positive(**values: float | int | None) -> None:
    for key, value in values.items():
        if value is not None and value != REQUIRED and not 0 < value < math.inf:
            raise ValueError(f"{key} must be > 0, got {value}")
