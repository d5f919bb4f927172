"""A worker: takes trial after trial from the study until none is left, and tells of each in two lines."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from optuna.trial import FrozenTrial
from rich.markup import escape

from apo_lightning import signals
from apo_lightning.console import Console
from apo_lightning.experiment.sweeps import names, points, proposals, trial
from apo_lightning.experiment.sweeps.file import Plan
from apo_lightning.experiment.sweeps.record import NUMBER, Record
from apo_lightning.files import disk
from apo_lightning.files.characters import visible
from apo_lightning.progress import duration


def work(record: Record) -> None:
    """Run what nobody else runs. A trial that fails is noted, and the others go on."""
    plan = record.plan
    while True:
        with record.turn() as taken:
            if taken is None:
                return
            _run(record, plan, taken)


def _run(record: Record, plan: Plan, taken: FrozenTrial) -> None:
    number, values = taken.user_attrs[NUMBER] + 1, proposals.values(plan, taken.params)
    console = Console(highlight=False)
    head = f"trial {number} of {plan.count}"
    console.print(f"[bold]{head}[/bold]: {escape(visible(_settings(plan, values)))}", soft_wrap=True)
    try:
        point = points.load(plan, number, values)
        value, result = trial.run(plan, point, record.folder, partial(record.report, taken))
    except Exception as error:  # the other trials must go on, whatever it was
        if signals.behind(error):
            raise
        said = disk.explain(error) or str(error)
        record.fail(taken, f"{type(error).__name__}: {said}")
        text = f"  trial {number} failed: {said} (trial{number}.log)"
        Console(stderr=True).print(text, style="red", markup=False, highlight=False, soft_wrap=True)
        return
    if value is None:
        record.end(taken, result)
        console.print(f"  trial {number}: ended early, others were better; {told(result)}", soft_wrap=True)
        return
    record.finish(taken, value, result)
    name = plan.metric["name"] if plan.metric else f"{result['split']}/accuracy"
    console.print(f"  trial {number}: {escape(name)} {value:.4g}; {told(result)}", soft_wrap=True)


def told(result: Mapping[str, Any]) -> str:
    """
    >>> told({"made": ["apo", "evaluate"], "reused": ["spd", "reference"], "seconds": 41.2})
    'trained apo, evaluate; reused spd, reference; 41 s'
    """
    parts = {"trained": result["made"], "reused": result["reused"]}
    said = [f"{word} {', '.join(stages)}" for word, stages in parts.items() if stages]
    return "; ".join([*said, duration(result["seconds"])])


def _settings(plan: Plan, values: Mapping[str, Any]) -> str:
    brief = names.short(plan.varied)
    return points.said({brief[key]: values[key] for key in plan.varied}) or "as the experiment has it"
