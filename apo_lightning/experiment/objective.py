"""What a sweep optimises: a number that its runs will log, and of one arm where they run several."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from apo_lightning.errors import ConfigError, did_you_mean
from apo_lightning.settings import ExperimentSettings

SPLITS = ("train", "val", "test")
SEED = re.compile(r"seed(\d+)")


def require(metric: Any, cfg: ExperimentSettings, where: str) -> None:
    """Check ``metric`` of a sweep against one of its experiments.

    Args:
        metric: ``{name: ..., goal: ...}``, or None where the sweep names none, as a grid or a random search may.
        cfg: the experiment of a trial.
        where: the file, or the sweep, for messages.

    Raises:
        ConfigError: the name is not one that a trial logs, or says no arm where the trial runs several.
    """
    arms = list(cfg.only or cfg.arms)
    if metric is not None and not (isinstance(metric, Mapping) and isinstance(metric.get("name"), str)):
        raise ConfigError(f"metric must be a mapping with name and goal, got {metric!r} ({where}).")
    name = metric["name"] if metric else None
    if problem := _problem(name, arms, cfg.seeds, cfg.evaluate.split):
        raise ConfigError(f"{problem} ({where}). {_advice(name, arms, cfg.evaluate.split)}")


def _problem(name: str | None, arms: Sequence[str], seeds: Sequence[int], split: str) -> str:
    """What is wrong, with its value; empty where nothing is."""
    first, *rest = name.split("/") if name else ("",)
    if len(arms) > 1 and first not in arms:
        return f"metric.name must begin with one of the {len(arms)} arms that are run, got {quoted(name)}"
    if first not in arms:
        rest = [first, *rest]
    elif rest and (seed := SEED.fullmatch(rest[0])):
        if int(seed[1]) not in seeds:
            return f"metric.name must name a seed that is run ({_listed(seeds)}), got {quoted(name)}"
        return _other_split(name, rest[1:], split)
    return _other_split(name, rest, split) if name else ""


def _other_split(name: str, rest: Sequence[str], split: str) -> str:
    if len(rest) == 2 and rest[0] in SPLITS and rest[0] != split:
        return f"metric.name must be measured on evaluate.split, which is {split}, got {quoted(name)}"
    return ""


def _advice(name: str | None, arms: Sequence[str], split: str) -> str:
    example = f"{arms[0]}/{split}/accuracy" if len(arms) > 1 else f"{split}/accuracy"
    one = f" {split}/accuracy alone needs one arm: only=[{arms[0]}]." if len(arms) > 1 else ""
    known = f" {did_you_mean(name.split('/')[0], arms)}" if name and len(arms) > 1 else ""
    return f"Write for instance name: {example}.{one}{known}"


def quoted(name: str | None) -> str:
    """The name of a metric in a message."""
    return "nothing" if name is None else f"'{name}'"


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
