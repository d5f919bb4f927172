"""trials.csv, finals.csv, study.json, table.md and map.png of a study, and the table that it ends with.

Intervals and differences are those of the finals' own tables (`metrics.bootstrap`: over patients and seeds, differences
paired by both); nothing is computed here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

from apo_lightning.console import Console, print_whole
from apo_lightning.experiment.study import parts, rule
from apo_lightning.experiment.study.record import HOME, Record
from apo_lightning.files import locks
from apo_lightning.files.atomic import write_bytes, write_text
from apo_lightning.files.formats import write_csv, write_json
from apo_lightning.leader import say_plainly
from apo_lightning.reports.columns import SUMMARY, Column
from apo_lightning.reports.figures import png
from apo_lightning.reports.figures_study import heat
from apo_lightning.reports.markdown import md, md_table
from apo_lightning.reports.measured import Results, load
from apo_lightning.reports.significance import MARKS, comparisons
from apo_lightning.reports.table import arm_labels, bracket, difference, reference_arm, wide

BESIDE = "accuracy"
"""Shown beside the metric of the rule."""
DIGITS = 3


@dataclass(frozen=True)
class Line:
    """One arm on one set of one world, in one metric.

    Attributes:
        trial: its number, 0 where the arm has none.
        settings: of the trial, in words.
        against: label of the control arm; empty for that arm itself.
        value, low, high: mean over seeds with its interval.
        minus, minus_low, minus_high: the difference to the control.
        mark: stars where a test tells them apart.
    """

    world: str
    title: str
    set: str
    arm: str
    label: str
    trial: int
    settings: str
    seeds: int
    metric: str
    against: str
    value: float
    low: float
    high: float
    minus: float = math.nan
    minus_low: float = math.nan
    minus_high: float = math.nan
    mark: str = ""

    @property
    def measured(self) -> str:
        return f"{self.value:.{DIGITS}f} {bracket(self.low, self.high, DIGITS)}".rstrip()

    @property
    def apart(self) -> str:
        """The difference as it is printed."""
        if not self.against:
            return "control"
        return f"{self.minus:+.{DIGITS}f}{self.mark} {bracket(self.minus_low, self.minus_high, DIGITS)}".rstrip()


def lines(record: Record) -> list[Line]:
    """Of all worlds that have a final, in the order of the study."""
    return [
        line
        for world in record.finished
        for name, place in record.sets(world).items()
        for line in _of_set(record, world, name, load(record.plan.place(world, parts.FINAL), place))
    ]


def _of_set(record: Record, world: str, name: str, results: Results) -> Iterator[Line]:
    plan, chosen, numbers = record.plan, record.chosen(world), wide(results).loc["arm"]
    control = reference_arm(results.values)
    for metric in [m for m in dict.fromkeys((record.spec.search.metric, BESIDE)) if f"{m}/mean" in numbers]:
        column = next((c for c in SUMMARY if c.metric == metric), Column(metric, "mean", metric, ""))
        for arm, label in arm_labels(results.values).items():
            row, trial = numbers.loc[arm], chosen.get(arm, 0) if plan.trains(arm) else 0
            said = parts.said(plan.trials(arm)[trial - 1]) if trial else ""
            ends = [float(row[f"{metric}/mean{end}"]) for end in ("", " low", " high")]
            head = (world, plan.worlds[world].title, name, arm, label, trial, said, int(row["seeds"]), metric)
            if arm == control or control is None:
                yield Line(*head, "", *ends)
                continue
            minus = difference(results, arm, control, metric, "mean")[:3]
            against = arm_labels(results.values)[control]
            yield Line(*head, against, *ends, *minus, comparisons(results).mark(arm, control, column))


def write(record: Record) -> list[Line]:
    """All files of a study but its map, of what is done; returns the lines of its table."""
    folder, found = record.plan.folder, lines(record)
    for name, frame in (("trials.csv", _with_choice(record)), ("finals.csv", record.finals)):
        write_csv(folder / name, list(frame.columns), frame.astype(object).where(frame.notna(), "").values.tolist())
    write_json(folder / "study.json", _told(record))
    write_text(folder / "table.md", _markdown(record, found))
    return found


def _draw(record: Record, found: Sequence[Line]) -> None:
    drawn, metric = _map(found, record.spec.search.metric), record.spec.search.metric.replace("_", " ")
    if drawn.notna().any(axis=None):
        write_bytes(record.plan.folder / "map.png", png(heat(drawn, f"{metric} minus {_control(found)}")))


def show(record: Record) -> None:
    """Write all files, and print the table and what is missing."""
    with locks.held(record.plan.folder / ".lock", str(record.plan.folder), say_plainly):
        found = write(record)
        _draw(record, found)
    console = Console(highlight=False)
    if found:
        print_whole(_printed(record.plan.name, found), console)
    for sentence in record.missing():
        console.print(sentence, style="yellow", markup=False)
    console.print(f"{record.plan.folder}: trials.csv, finals.csv, study.json, table.md", markup=False, soft_wrap=True)


def _with_choice(record: Record) -> pd.DataFrame:
    """The trials, and which of them were chosen, where the search of their world is over."""
    over = [world for world in record.plan.worlds if world not in record.unsearched]
    chosen = {(world, *pair) for world in over for pair in record.chosen(world).items()}
    frame = record.trials
    marks = ["yes" if key in chosen else "" for key in zip(frame["world"], frame["arm"], frame["trial"], strict=True)]
    return frame.assign(chosen=marks)


def _told(record: Record) -> dict[str, Any]:
    """study.json: the file resolved, the rule, the choice."""
    plan, over = record.plan, [world for world in record.plan.worlds if world not in record.unsearched]
    scores = {world: record.scores(world) for world in over}
    return {
        "study": plan.name,
        "file": str(plan.path),
        "settings": dataclasses.asdict(plan.spec),
        "trials": {arm: plan.trials(arm) for arm in plan.tuned},
        "overrides": list(plan.overrides),
        "rule": rule.SAID.format(metric=plan.spec.search.metric),
        "chosen": {
            world: {
                arm: {"trial": n, "score": scores[world][arm][n - 1], "settings": plan.trials(arm)[n - 1]}
                for arm, n in record.chosen(world).items()
            }
            for world in over
        },
        "going_on": record.going() if not record.unsearched or not plan.going.get(rule.BEST) else None,
        "missing": record.missing(),
        "failed": record.failed(),
    }


def _markdown(record: Record, found: Sequence[Line]) -> str:
    plan, spec = record.plan, record.spec
    said = [
        f"# {md(plan.name)}",
        f"{spec.budget} trials an arm and world, search seeds {spec.search.seeds}; rule: "
        f"{md(rule.SAID.format(metric=spec.search.metric))}. Measured on the {spec.final.split} split over seeds "
        f"{spec.final.seeds}. In brackets 95 % intervals over patients and seeds; differences are paired by both.",
    ]
    for world, name in dict.fromkeys((line.world, line.set) for line in found):
        own = [line for line in found if (line.world, line.set) == (world, name)]
        said.append(f"## {md(world)}: {md(own[0].title)}" + ("" if name == HOME else f", set {md(name)}"))
        said.append(_table_of(own))
    if any(line.mark for line in found):
        said.append(md(MARKS.format(against="the control")))
    for title, sentences in (("Missing", record.missing()), ("Failed", record.failed())):
        if sentences:
            said += [f"## {title}", "\n".join(f"- {md(one)}" for one in sentences)]
    return "\n\n".join(said) + "\n"


def _table_of(own: Sequence[Line]) -> str:
    metrics = list(dict.fromkeys(line.metric for line in own))
    named = {(line.arm, line.metric): line for line in own}
    control = md(_control(own))
    heads = [head for metric in metrics for head in (md(metric.replace("_", " ")), f"minus {control}")]
    body = []
    for line in (line for line in own if line.metric == metrics[0]):
        cells = [cell for m in metrics for cell in (named[line.arm, m].measured, named[line.arm, m].apart)]
        trial = f"t{line.trial}: {line.settings}" if line.trial else "no trials"
        body.append([md(line.label), md(trial), str(line.seeds), *map(md, cells)])
    return md_table(["arm", "chosen", "seeds", *heads], body)


def _control(found: Sequence[Line]) -> str:
    return next((line.against for line in found if line.against), "the control")


def _map(found: Sequence[Line], metric: str) -> pd.DataFrame:
    """Arm to world (and set) to the difference from the control; without the control itself."""
    own = [line for line in found if line.metric == metric and line.against]
    rows = _told_apart({line.arm: line.label for line in own})
    titles = _told_apart({line.world: line.title for line in own})
    columns = {(one.world, one.set): titles[one.world] + ("" if one.set == HOME else f", {one.set}") for one in own}
    frame = pd.DataFrame(index=list(rows.values()), columns=list(columns.values()), dtype=float)
    for line in own:
        frame.loc[rows[line.arm], columns[line.world, line.set]] = line.minus
    return frame


def _told_apart(titles: Mapping[str, str]) -> dict[str, str]:
    """Name to title, with the name behind it where two have one title.

    >>> _told_apart({"a": "SFT", "b": "SFT", "c": "Base"})
    {'a': 'SFT (a)', 'b': 'SFT (b)', 'c': 'Base'}
    """
    all_ = list(titles.values())
    return {name: f"{title} ({name})" if all_.count(title) > 1 else title for name, title in titles.items()}


def _printed(name: str, found: Sequence[Line]) -> Table:
    printed = Table(title=escape(f"study {name}: mean over findings and seeds, 95 % intervals over patients and seeds"))
    for head in ("world", "set", "arm", "chosen", "metric"):
        printed.add_column(head)
    for head in ("value", f"minus {_control(found)}"):
        printed.add_column(escape(head), justify="right")
    before = ""
    for line in found:
        if before and line.world != before:
            printed.add_section()
        before = line.world
        cells = (line.world, line.set, line.label, line.settings, line.metric, line.measured, line.apart)
        printed.add_row(*map(escape, cells))
    return printed
