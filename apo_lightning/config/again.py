"""The sections of stages that run again: what ``stages.apo_2`` does not say is as ``stages.apo`` has it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from apo_lightning.config import shape
from apo_lightning.config.check import settings_of
from apo_lightning.config.layers import Layers
from apo_lightning.config.registered import Path, get, section_at


def filled(layers: Layers) -> Layers:
    """``layers`` with the whole section of each later run that they name, as a copy where there is one. An inherited
    value comes from where the first run has it.

    A section that names another class (``loss``) keeps those settings of the first run's that the class has too.
    """
    names = [name for name in shape.named(layers.tree) if shape.is_again(name)]
    if not names or not isinstance(layers.tree.get("stages") or {}, Mapping):
        return layers
    layers = layers.copy()
    for name in names:
        _fill(layers, ("stages", str(shape.stage_of(name))), ("stages", name))
    return layers


def told_once(problems: Sequence[str], tree: Mapping[str, Any]) -> list[str]:
    """``problems`` without those that a later run has inherited with its settings."""
    keys = [(f"stages.{name}", f"stages.{shape.stage_of(name)}") for name in shape.named(tree) if shape.is_again(name)]
    return [text for text in problems if not any(a in text and text.replace(a, b) in problems for a, b in keys)]


def _fill(layers: Layers, first: Path, again: Path) -> None:
    under, over = get(layers.tree, first), get(layers.tree, again)
    if isinstance(over, Mapping | None) and isinstance(under, Mapping):
        own, origins = dict(layers.origins), layers.origins
        layers.tree["stages"][again[-1]] = _over(under, over or {}, again)
        inherited = {leaf: source for leaf, source in own.items() if leaf[: len(first)] == first}
        layers.origins = {(*again, *leaf[len(first) :]): source for leaf, source in inherited.items()} | origins


def _over(under: Mapping[str, Any], over: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """``over`` laid on ``under``, key by key."""
    merged = {key: copy.deepcopy(value) for key, value in under.items() if key in over or _fits(key, over, path)}
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _over(merged[key], value, (*path, key)) if both else copy.deepcopy(value)
    return merged


def _fits(key: str, over: Mapping[str, Any], path: Path) -> bool:
    """Whether an inherited setting means something to the class that ``over`` names; a known one alone can say."""
    kind = section_at(path)
    name = kind.member(path, over) if kind and kind.discriminator else None
    if kind is None or name is None or str(name) not in (registry := kind.registry()):
        return True
    return key in settings_of(registry[str(name)])
