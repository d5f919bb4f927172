"""What a sweep ends with: one table, the best trial marked, and the same as a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from rich.markup import escape
from rich.table import Table

from apo_lightning.console import Console, print_whole
from apo_lightning.experiment.sweeps import figures, names, proposals
from apo_lightning.experiment.sweeps.file import GOALS, Plan
from apo_lightning.experiment.sweeps.record import ERROR, NUMBER, RESULT, Record
from apo_lightning.experiment.sweeps.scores import METRICS
from apo_lightning.files.atomic import write_text
from apo_lightning.files.formats import quoted

BEST, FAILED, ENDED = "best", "failed", "ended"
FIXED = (
    *("trial", "arm", "label", "split", *METRICS, "value", BEST, ENDED),
    *("trained", "reused", "seconds", "waited", "error"),
)


def frame(record: Record) -> pd.DataFrame:
    """One row a trial and arm: ``trial``, parameters, ``share.<teacher>`` where weights are swept, ``arm``, ``label``,
    ``split``, METRICS, ``value`` of the metric, ``best`` (bool), ``ended`` (of a trial that was ended
    early, how many values of its curve there are), ``trained``, ``reused``, ``seconds`` of work, ``waited`` for stages
    of other trials, ``error``."""
    rows = [row for trial in record.trials.values() for row in _rows(record.plan, trial)]
    found = pd.DataFrame(rows)
    number = best(record)
    found[BEST] = found["trial"] == number if rows else False
    before = [name for name in found.columns if name not in FIXED]
    return found.reindex(columns=["trial", *before, *FIXED[1:]])


def best(record: Record) -> int | None:
    """Number (from 1) of the trial with the best value of the metric; of equals the first."""
    sign = 1 if record.plan.goal == GOALS[0] else -1
    known = {n: t.value for n, t in record.trials.items() if t.state == TrialState.COMPLETE and math.isfinite(t.value)}
    return max(known, key=lambda number: sign * known[number]) + 1 if known else None


def _rows(plan: Plan, trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    values = {key: _cell(value) for key, value in proposals.values(plan, trial.params).items()}
    row = {"trial": trial.user_attrs[NUMBER] + 1, **values}
    nothing = dict.fromkeys(("arm", "label", "split", "trained", "reused"), "") | dict.fromkeys(METRICS, math.nan)
    if trial.state == TrialState.FAIL:
        lost = {
            "value": math.nan,
            "seconds": math.nan,
            "waited": math.nan,
            ENDED: "",
            "error": trial.user_attrs.get(ERROR, "unknown"),
        }
        yield row | nothing | lost
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        own = trial.user_attrs[RESULT]
        row |= {f"share.{name}": share for name, share in own["shares"].items()}
        told = {
            "trained": ", ".join(own["made"]),
            "reused": ", ".join(own["reused"]),
            **{name: own[name] for name in ("seconds", "waited")},
        }
        told |= {"split": own["split"], "value": trial.value, ENDED: own.get(ENDED, ""), "error": ""}
        yield from (row | arm | told for arm in own["rows"] or [nothing])


def write(record: Record, found: pd.DataFrame) -> None:
    """Write and print all of it."""
    folder, plan = record.folder, record.plan
    write_text(folder / "sweep.csv", found.rename(columns=quoted).map(quoted).to_csv(index=False))
    drawn = figures.write(record, found) if len(found) else []
    console = Console(highlight=False)
    print_whole(table_of(found, plan), console)
    number = found.loc[found[BEST], "trial"]
    if len(number):
        console.print(f"best: trial {number.iloc[0]}, {_said(plan, found)}", markup=False, soft_wrap=True)
    console.print(f"{folder}/sweep.csv{''.join(f', {name}' for name in drawn)}", markup=False, soft_wrap=True)


def _said(plan: Plan, found: pd.DataFrame) -> str:
    row = found[found[BEST]].iloc[0]
    ties = found.loc[found["value"] == row["value"], "trial"].nunique()
    alike = f"; {ties} trials have this value, and the first is shown" if ties > 1 else ""
    name = plan.metric["name"] if plan.metric else f"{row['split']}/accuracy"
    return f"{name} {row['value']:.4g} ({plan.goal}){alike}"


def shown(plan: Plan, found: pd.DataFrame) -> dict[str, str]:
    """Columns that tell trials apart, to what they are called: varied parameters, and of teachers' weights the shares,
    under the teachers' names."""
    shares = [name for name in found.columns if name.startswith("share.")]
    keys = [key for key in plan.varied if not (shares and names.WEIGHT.fullmatch(key))]
    return names.short(keys) | {name: name.removeprefix("share.") for name in shares}


def table_of(found: pd.DataFrame, plan: Plan) -> Table:
    """The rich table that a sweep ends with; the best trial has a star."""
    splits = ", ".join(dict.fromkeys(name for name in found["split"] if name)) or "no"
    table = Table(title=escape(f"sweep {plan.path.stem}: {splits} split, mean over findings and seeds"))
    columns = shown(plan, found)
    arms = ["arm"] if found["arm"].replace("", pd.NA).nunique() > 1 else []
    for name in ("trial", *columns.values(), *arms, *(metric.replace("_", " ") for metric in METRICS), "seconds"):
        table.add_column(escape(name), justify="left" if name in arms else "right")
    for _, row in found.iterrows():
        lost = FAILED if row["error"] else (f"{ENDED} at {row[ENDED]}" if row[ENDED] else "")
        values = [lost or f"{row[metric]:.3f}" for metric in METRICS]
        cells = [_text(name, row[name]) for name in columns]
        seconds = "" if math.isnan(row["seconds"]) else f"{row['seconds']:.0f}"
        number = f"{'* ' if row[BEST] else ''}{row['trial']}"
        style = "bold" if row[BEST] else None
        table.add_row(number, *map(escape, [*cells, *(row[name] for name in arms)]), *values, seconds, style=style)
    return table


def _text(name: str, value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else (f"{value:.2f}" if name.startswith("share.") else f"{value:.4g}")
    return str(value)


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)
