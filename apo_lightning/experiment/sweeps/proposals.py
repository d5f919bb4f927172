"""Which parameters the trial of a number has: by the grid, by chance, or by what earlier trials came to.

A pure function of the file, the number and the results that it is shown, so that neither a kill nor the order in which
workers end changes what is tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from apo_lightning.experiment.sweeps.file import BAYES, GRID, Plan

SEED = 0
STARTUP = 5
"""Trials of a Bayesian search that are drawn by chance, before there is anything to learn from."""


def distributions(plan: Plan) -> dict[str, BaseDistribution]:
    """Of the parameters that vary."""
    return {key: plan.parameters[key].distribution for key in plan.varied}  # type: ignore[misc]


def values(plan: Plan, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter's setting, in the order of the file, behind what was drawn of those that vary."""
    return {
        key: own.value(drawn[key]) if key in drawn else (own.values or (None,))[0]
        for key, own in plan.parameters.items()
    }


def known_before(plan: Plan) -> list[dict[str, Any]]:
    """What is drawn for each trial of which no result decides: all of a grid and of a random search."""
    if plan.method == GRID:
        return list(itertools.islice(_grid(plan), plan.count))
    return [draw(plan, number, []) for number in range(plan.count or 0)] if plan.method != BAYES else []


def draw(plan: Plan, number: int, history: Sequence[FrozenTrial]) -> dict[str, Any]:
    """
    Args:
        plan: the sweep.
        number: of the trial, from 0.
        history: finished trials that it may learn from.
    """
    quiet()
    study = optuna.create_study(sampler=_sampler(plan.method, number), direction=plan.goal)
    study.add_trials(history)
    return study.ask(distributions(plan)).params


def quiet() -> None:
    """Optuna tells of every study, those in memory too, and of every trial (level INFO)."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _sampler(method: str, number: int) -> BaseSampler:
    seed = int(np.random.SeedSequence([SEED, number]).generate_state(1)[0])
    if method == BAYES:
        return TPESampler(seed=seed, multivariate=True, n_startup_trials=STARTUP)
    return RandomSampler(seed=seed)


def _grid(plan: Plan) -> Iterator[dict[str, Any]]:
    """The last parameter changes fastest."""
    listed = [plan.parameters[key].choices for key in plan.varied]
    return (dict(zip(plan.varied, combination, strict=True)) for combination in itertools.product(*listed))
