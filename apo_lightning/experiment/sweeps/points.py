"""What a trial runs: its words and its checked experiment. All that can be known before the first is checked before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo_lightning import config
from apo_lightning.errors import ConfigError, nearest
from apo_lightning.experiment import objective
from apo_lightning.experiment.sweeps import early, proposals
from apo_lightning.experiment.sweeps.file import BAYES, Plan
from apo_lightning.hashing.inventory import UNIMPORTANT
from apo_lightning.reports.columns import KINDS
from apo_lightning.settings import ExperimentSettings

SHOWN = 10
"""Trials of whose mistakes a message tells."""


@dataclass(frozen=True)
class Point:
    """One trial: its number (from 1), its parameters, its words, and its experiment under the name of its folder."""

    number: int
    parameters: dict[str, Any]
    overrides: tuple[str, ...]
    cfg: ExperimentSettings

    @property
    def folder(self) -> Path:
        return Path(self.cfg.runs_dir) / self.cfg.name


def load(plan: Plan, number: int, parameters: Mapping[str, Any]) -> Point:
    """
    Raises:
        ConfigError: the experiment is not valid with these parameters.
    """
    words = [*plan.fixed, *(f"{key}={word(value)}" for key, value in parameters.items()), *plan.overrides]
    cfg = config.load(plan.experiment, words)
    name = f"{cfg.name}-{plan.path.stem}/{number}"
    for each in (cfg, *cfg.resolved.values()):
        each.name = name
    return Point(number, dict(parameters), (*words, f"name={name}"), cfg)


def check(plan: Plan) -> list[Point]:
    """Every trial that is known before any has run, loaded; of a Bayesian search, one at the ends of each parameter.

    Raises:
        ConfigError: what is wrong with them, once where it is the same, or with the metric.
    """
    tried = list(_tried(plan))
    found, problems = list[Point](), dict[int, str]()
    for number, values in enumerate(tried, 1):
        try:
            found.append(load(plan, number, values))
        except ConfigError as error:
            problems[number] = f"Trial {number} of {plan.where}, {said(values)}: {error}"
            if number == SHOWN and not found:
                break
    if problems:
        raise ConfigError(_told(list(problems.values()), len(found), len(tried)))
    unclear = [text for point in found if (text := _unclear(plan, point))]
    if unclear:
        raise ConfigError("\n".join(dict.fromkeys(unclear)))
    return found


def _told(problems: Sequence[str], fine: int, whole: int) -> str:
    """One mistake that all trials share is said once."""
    if not fine and whole > 1:
        return f"{problems[0]}\nNone of the {whole} trials is valid; nothing was run."
    more = [f"... and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
    return "\n".join([*problems[:SHOWN], *more])


def _tried(plan: Plan) -> Iterator[dict[str, Any]]:
    if plan.method != BAYES and plan.count:
        yield from (proposals.values(plan, drawn) for drawn in proposals.known_before(plan))
        return
    first = {key: own.ends()[0] for key, own in plan.parameters.items()}
    yield first
    for key, own in plan.parameters.items():
        yield from (first | {key: end} for end in own.ends()[1:])


def _unclear(plan: Plan, point: Point) -> str:
    """What is wrong with the metric, for this trial."""
    try:
        objective.require(plan.metric, point.cfg, plan.where)
    except ConfigError as error:
        return str(error)
    if plan.early and (problem := early.problem(plan.metric, point.cfg, plan.where)):
        return problem
    name = plan.metric["name"] if plan.metric else ""
    known = {column.metric for kind in KINDS for column in kind.columns}
    last, split = name.rpartition("/")[2], point.cfg.evaluate.split
    scored = name.rpartition("/")[0].rpartition("/")[2] == split and name.count("/") <= 3
    if scored and last not in known and (hint := nearest(last, known)):
        return f"metric.name ends with no metric that is measured, got '{name}' ({plan.where}). {hint}"
    return ""


def settled(plan: Plan, point: Point) -> dict[str, Any]:
    """All that the results of a sweep depend on, as its study keeps it; how many trials it has is no part of that.

    Args:
        plan: the sweep.
        point: any of its trials.
    """
    cfg = config.to_dict(point.cfg)
    kept = {key: value for key, value in cfg.items() if key not in (*UNIMPORTANT, "name")}
    return json.loads(
        json.dumps(
            {
                "method": plan.method,
                "metric": dict(plan.metric) if plan.metric else None,
                "parameters": {key: repr(own) for key, own in plan.parameters.items()},
                **({"early_terminate": repr(plan.early)} if plan.early else {}),
                "runs": {"seeds": cfg["seeds"], "arms": list(point.cfg.resolved)},
                "experiment": without(kept, set(plan.parameters)),
            },
            default=str,
        )
    )


def without(tree: Mapping[str, Any], keys: set[str], above: str = "") -> dict[str, Any]:
    """A tree of settings without what trials set, here or in an arm's ``set``, and without labels, which tell of it.

    >>> without({"a": {"b": 1, "c": 2}}, {"a.b"})
    {'a': {'c': 2}}
    """
    found = {}
    for name, value in tree.items():
        key = f"{above}{name}"
        if key in keys or name in keys or name == "label":
            continue
        found[name] = without(value, keys, f"{key}.") if isinstance(value, Mapping) else value
    return found


def word(value: Any) -> str:
    """A value as it stands on the command line: JSON, which every reader of YAML takes for what it is."""
    return json.dumps(value, ensure_ascii=False)


def said(values: Mapping[str, Any]) -> str:
    """
    >>> said({"a.b": 1, "c": "x"})
    'a.b=1, c="x"'
    """
    return ", ".join(f"{key}={word(value)}" for key, value in values.items())
