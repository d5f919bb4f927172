"""Trials that are ended before their end because others were better at the same place of the same curve: W&B's
``early_terminate``, decided by Optuna's asynchronous successive halving (Li et al., arXiv 1810.05934)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from optuna.pruners import SuccessiveHalvingPruner

from apo_lightning.errors import ConfigError, StoppedError, did_you_mean
from apo_lightning.experiment import processes
from apo_lightning.experiment.objective import SEED, quoted
from apo_lightning.settings import ExperimentSettings, FitSettings

KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")
"""As W&B names them."""
ETA = 3
"""W&B's."""


@dataclass(frozen=True)
class Early:
    """When trials are compared, and how many of them go on.

    Attributes:
        first: values of the curve at which a trial is compared for the first time; later at ``factor`` times as many,
            and so on.
        factor: one in so many goes on.
    """

    first: int
    factor: int

    def pruner(self) -> SuccessiveHalvingPruner:
        return SuccessiveHalvingPruner(min_resource=self.first, reduction_factor=self.factor)


class EndedError(StoppedError):
    """A trial is ended here: too many others were better."""


def parse(spec: Any, where: str) -> Early | None:
    """W&B's section; None where there is none.

    Raises:
        ConfigError: it is not one that W&B would take, or asks for W&B's strict mode.

    >>> parse({"type": "hyperband", "max_iter": 27, "s": 2}, "beta.yaml")
    Early(first=3, factor=3)
    """
    if spec is None:
        return None
    if not isinstance(spec, Mapping) or spec.get("type") != "hyperband":
        raise ConfigError(f"early_terminate must be {{type: hyperband, min_iter: 3}}, got {spec!r} ({where}).")
    if unknown := [str(key) for key in spec if key not in KEYS]:
        hint = did_you_mean(unknown[0], KEYS)
        raise ConfigError(f"early_terminate.{unknown[0]} is no key of a sweep file ({where}). {hint}")
    if spec.get("strict"):
        raise ConfigError(f"early_terminate.strict is not done here, got {spec['strict']!r} ({where}). Leave it out.")
    factor = _whole(spec, "eta", 2, where, ETA)
    if ("min_iter" in spec) == ("max_iter" in spec):
        raise ConfigError(f"early_terminate must have one of min_iter and max_iter, got {dict(spec)!r} ({where}).")
    if "min_iter" in spec:
        return Early(_whole(spec, "min_iter", 1, where), factor)
    return Early(max(1, _whole(spec, "max_iter", 1, where) // factor ** _whole(spec, "s", 1, where)), factor)


def _whole(spec: Mapping[str, Any], key: str, least: int, where: str, default: int | None = None) -> int:
    value = spec.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"early_terminate.{key} must be a whole number >= {least}, got {value!r} ({where}).")
    return value


def problem(metric: Mapping[str, Any] | None, cfg: ExperimentSettings, where: str) -> str:
    """Why the trials of an experiment cannot be ended early by ``metric``; empty where they can."""
    from apo_lightning.experiment import trainer

    name = metric["name"] if metric else ""
    arm, seed, stage, *rest = [*name.split("/"), "", "", ""]
    trained = cfg.arms[arm].stages if arm in cfg.resolved else ()
    fits = [each for each in trained if isinstance(getattr(cfg.stages, each, None), FitSettings)]
    example = f"{next(iter(cfg.resolved))}/seed{cfg.seeds[0]}/apo/val/loss"
    if not (SEED.fullmatch(seed) and stage in fits and rest[0]):
        return (
            f"early_terminate needs as metric.name what a stage logs while it trains (<arm>/seed<k>/<stage>/<name>, as "
            f"{example}), got {quoted(name or None)} ({where})."
        )
    own = cfg.resolved[arm]
    if rest[0] == "val" and not trainer.validates(own.trainer, getattr(own.stages, stage), own.callbacks):
        return (
            f"early_terminate by '{name}' needs a stage that is validated while it trains ({where}). Add "
            "trainer.val_check_interval=20 (steps between two validations) to its command."
        )
    if processes.wanted(cfg.trainer):
        devices = f"trainer.devices={cfg.trainer.devices}"
        return f"early_terminate is not done where a trial has several processes, got {devices} ({where})."
    return ""


@contextmanager
def watched(name: str, report: Callable[[int, float], bool]) -> Iterator[None]:
    """Inside, each value of the curve ``name`` is reported with its number (from 1).

    Raises:
        EndedError: ``report`` says that the trial is to end.
    """
    from apo_lightning.experiment import curves

    def hear(key: str, count: int, value: float) -> None:
        if key == name and report(count, value):
            raise EndedError(f"ended at {name} {value:.4g}, value {count} of its curve: others were better there")

    with curves.heard(hear):
        yield


def unreported(values: Sequence[float], reported: Mapping[int, float]) -> dict[int, float]:
    """Of a whole curve, by number, what no report told of: it lay in the store, or a kill came between.

    >>> unreported([0.5, 0.6, 0.7], {1: 0.5})
    {2: 0.6, 3: 0.7}
    """
    return {number: value for number, value in enumerate(values, 1) if number not in reported}
