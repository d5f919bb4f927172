"""The dataclass that an experiment is read into: with a section for every registered stage that it speaks of."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import field, make_dataclass
from functools import cache
from typing import Any

from apo_lightning.registry import Registry
from apo_lightning.settings import ExperimentSettings, FitSettings, StagesSettings

PAPER = ("spd", "self_distill", "apo")
"""Stages whose sections every experiment has, in the order in which they may follow each other."""


def stages() -> Registry:
    """The registry of stages. Importing it takes seconds, so that it is asked only about others than the paper's."""
    return importlib.import_module("apo_lightning.stages").STAGES


def named(tree: Mapping[str, Any]) -> list[str]:
    """Stages beyond the paper's that the sections of ``stages`` or an arm name."""
    sections, arms = tree.get("stages"), tree.get("arms")
    found = list(sections) if isinstance(sections, Mapping) else []
    for arm in arms.values() if isinstance(arms, Mapping) else ():
        listed = arm.get("stages") if isinstance(arm, Mapping) else None
        found += listed if isinstance(listed, list) else []
    return [name for name in dict.fromkeys(map(str, found)) if name not in PAPER]


def settings_for(tree: Mapping[str, Any]) -> type[ExperimentSettings]:
    """`ExperimentSettings`, with a section of `FitSettings` for each further stage that ``tree`` names."""
    extra = named(tree)
    return _with(tuple(name for name in extra if name in stages())) if extra else ExperimentSettings


@cache
def _with(names: tuple[str, ...]) -> type[ExperimentSettings]:
    if not names:
        return ExperimentSettings
    sections = [(name, FitSettings, field(default_factory=FitSettings)) for name in names]
    below = make_dataclass("StagesSettings", sections, bases=(StagesSettings,))
    return make_dataclass(
        "ExperimentSettings", [("stages", below, field(default_factory=below))], bases=(ExperimentSettings,)
    )
