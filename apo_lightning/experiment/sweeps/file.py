"""A W&B sweep file, read with W&B's own words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo_lightning import config
from apo_lightning.config.layers import label, read_file
from apo_lightning.errors import ConfigError, did_you_mean
from apo_lightning.experiment.sweeps.early import Early
from apo_lightning.experiment.sweeps.early import parse as parse_early
from apo_lightning.experiment.sweeps.parameters import Parameter, parse

ARGUMENTS = "${args_no_hyphens}"
GRID, RANDOM, BAYES = "grid", "random", "bayes"
METHODS = (GRID, RANDOM, BAYES)
GOALS = ("maximize", "minimize")
KEYS = (
    *("program", "command", "method", "metric", "parameters", "run_cap", "early_terminate"),
    *("name", "description", "project", "entity"),
)
"""Those of W&B that mean something to a program of its own; the last four are W&B's alone."""


@dataclass(frozen=True)
class Plan:
    """A sweep file and the command line.

    Attributes:
        path: the file.
        experiment: the file of the experiment that each trial runs.
        fixed: ``key=value`` words of the file's command, the same for all trials.
        overrides: ``key=value`` words of the command line, laid over everything else.
        method: GRID, RANDOM or BAYES.
        metric: as the file has it, ``{name, goal}`` or None.
        parameters: in the order of the file.
        count: number of trials; None where nothing says how many.
        early: when trials are ended before their end; None: never.
    """

    path: Path
    experiment: Path
    fixed: tuple[str, ...]
    overrides: tuple[str, ...]
    method: str
    metric: Mapping[str, Any] | None
    parameters: Mapping[str, Parameter]
    count: int | None = None
    early: Early | None = None

    @property
    def where(self) -> str:
        return label(self.path)

    @property
    def goal(self) -> str:
        return self.metric["goal"] if self.metric else GOALS[0]

    @property
    def varied(self) -> list[str]:
        """Keys of the parameters that differ between trials."""
        return [key for key, own in self.parameters.items() if own.distribution is not None]


def read(path: Path, overrides: Sequence[str] = (), trials: int | None = None) -> Plan:
    """
    Args:
        path: the sweep file.
        overrides: ``key=value`` words of the command line.
        trials: how many; None: what the file says.

    Raises:
        ConfigError: the file is not valid, or asks for something that is not done here.
    """
    spec, where = read_file(path), label(path)
    if unknown := [key for key in spec if key not in KEYS]:
        raise ConfigError(f"'{unknown[0]}' is no key of a sweep file ({where}). {did_you_mean(str(unknown[0]), KEYS)}")
    experiment, fixed = read_command(spec, path)
    method, parameters = spec.get("method"), spec.get("parameters")
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got '{method}' ({where}).")
    if not isinstance(parameters, Mapping) or not parameters:
        raise ConfigError(f"parameters must name at least one parameter, got {parameters!r} ({where}).")
    found = {str(key): parse(str(key), given, where) for key, given in parameters.items()}
    _require_goal(spec.get("metric"), where)
    count = _count(method, found, spec.get("run_cap"), trials, where)
    early = parse_early(spec.get("early_terminate"), where)
    return Plan(path, experiment, tuple(fixed), tuple(overrides), method, spec.get("metric"), found, count, early)


def read_command(spec: Mapping[str, Any], path: Path) -> tuple[Path, list[str]]:
    """The experiment that a sweep file runs, and the ``key=value`` words that all its trials share.

    Raises:
        ConfigError: ``command`` is not one that this program understands.
    """
    command, shape = spec.get("command"), f"[..., run, EXPERIMENT, key=value, ..., {ARGUMENTS}]"
    words = [str(word) for word in command] if isinstance(command, list) else []
    if "run" not in words[:-2] or ARGUMENTS not in words:
        raise ConfigError(f"command must be a list of the form {shape}, got {command!r} ({label(path)}).")
    experiment, *rest = words[words.index("run") + 1 :]
    return config.find(experiment), [word for word in rest if word != ARGUMENTS]


def _count(method: str, parameters: Mapping[str, Parameter], cap: Any, trials: int | None, where: str) -> int | None:
    if cap is not None and (not isinstance(cap, int) or isinstance(cap, bool) or cap < 1):
        raise ConfigError(f"run_cap must be a number of trials, got {cap!r} ({where}).")
    if method != GRID:
        return trials or cap
    ranges = [key for key, own in parameters.items() if own.values is None]
    if ranges:
        drawn = "To draw it, write method: random or method: bayes."
        raise ConfigError(f"parameters.{ranges[0]} must have a list of values in a grid ({where}). {drawn}")
    whole = math.prod(len(own.values or ()) for own in parameters.values())
    return min(whole, trials or whole, cap or whole)


def _require_goal(metric: Any, where: str) -> None:
    """W&B would minimise an accuracy whose goal is not named."""
    if metric is not None and not (isinstance(metric, Mapping) and isinstance(metric.get("name"), str)):
        raise ConfigError(f"metric must be a mapping with name and goal, got {metric!r} ({where}).")
    if metric is not None and metric.get("goal") not in GOALS:
        raise ConfigError(f"metric.goal must be one of {', '.join(GOALS)}, got {metric.get('goal')!r} ({where}).")
