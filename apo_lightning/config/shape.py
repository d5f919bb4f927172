"""The dataclass that an experiment is read into: with a section for every registered stage that it speaks of."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import field, fields, make_dataclass
from functools import cache
from typing import Any

from apo_lightning.registry import Registry
from apo_lightning.settings import ExperimentSettings, FitSettings, StagesSettings, rounds

PAPER = ("spd", "self_distill", "apo")
"""Stages whose sections every experiment has, in the order in which they may follow each other."""


def stages() -> Registry:
    """The registry of stages. Importing it takes seconds, so that it is asked only about others than the paper's."""
    return importlib.import_module("apo_lightning.stages").STAGES


def stage_of(name: str) -> str | None:
    """The registered stage that an arm's ``name`` runs: itself, or the one that runs again; None if it is none."""
    if (own := rounds.first(name)) in PAPER:
        return own
    known = list(stages())
    return next((stage for stage in (name, own) if stage in known), None)


def is_again(name: str) -> bool:
    """Whether ``name`` is a later run of a stage."""
    return stage_of(name) not in (name, None)


def named(tree: Mapping[str, Any]) -> list[str]:
    """Stages beyond the paper's that the sections of ``stages`` or an arm name."""
    sections, arms = tree.get("stages"), tree.get("arms")
    found = list(sections) if isinstance(sections, Mapping) else []
    for arm in arms.values() if isinstance(arms, Mapping) else ():
        listed = arm.get("stages") if isinstance(arm, Mapping) else None
        found += listed if isinstance(listed, list) else []
    return [name for name in dict.fromkeys(map(str, found)) if name not in PAPER]


def settings_for(tree: Mapping[str, Any]) -> type[ExperimentSettings]:
    """`ExperimentSettings`, with a section for each further stage, and later run of a stage, that ``tree`` names."""
    return _with(tuple(name for name in named(tree) if stage_of(name)))


@cache
def _with(names: tuple[str, ...]) -> type[ExperimentSettings]:
    if not names:
        return ExperimentSettings
    kinds = {name: _section(stage_of(name)) for name in names}
    sections = [(name, kind, field(default_factory=kind)) for name, kind in kinds.items()]
    below = make_dataclass("StagesSettings", sections, bases=(StagesSettings,))
    return make_dataclass(
        "ExperimentSettings", [("stages", below, field(default_factory=below))], bases=(ExperimentSettings,)
    )


def _section(stage: str | None) -> Any:
    """The settings of a registered stage."""
    return {own.name: own.default_factory for own in fields(StagesSettings)}.get(str(stage), FitSettings)
