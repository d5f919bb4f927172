"""How a table calls parameters and teachers' weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

PLAIN = ("stages", "loss", "optim", "teachers")
"""Parts of a key that need not be read."""
WEIGHT = re.compile(r"teachers\.(.+)\.weight")


def short(keys: Sequence[str]) -> dict[str, str]:
    """Each key to a name without the parts that all have; its own where two would be one.

    >>> short(["stages.apo.loss.beta", "stages.apo.optim.lr", "seeds"])
    {'stages.apo.loss.beta': 'apo.beta', 'stages.apo.optim.lr': 'apo.lr', 'seeds': 'seeds'}
    """
    brief = {key: ".".join(part for part in key.split(".") if part not in PLAIN) or key for key in keys}
    return {key: name if list(brief.values()).count(name) == 1 else key for key, name in brief.items()}


def shares(teachers: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> dict[str, float]:
    """Where teachers' weights are among the parameters: every teacher's weight, of a sum of 1. A loss normalises them
    likewise, so that weights and twice these weights are one point of the simplex.

    >>> shares({"a": {"weight": 3.0}, "b": {"weight": 1.0}}, ["teachers.a.weight"])
    {'a': 0.75, 'b': 0.25}
    """
    if not any(WEIGHT.fullmatch(key) for key in keys):
        return {}
    weights = {name: float(own.get("weight", 1.0)) for name, own in teachers.items()}
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}
