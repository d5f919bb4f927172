"""What a collector prints: before it asks, how much there is to ask and what that takes; afterwards, what came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rich import box
from rich.table import Table
from rich.text import Text

from apo_lightning.collecting.journal import MARKS
from apo_lightning.collecting.plan import Plan
from apo_lightning.collecting.questions import Outcome
from apo_lightning.files.characters import visible

SHOWN = 3
"""Studies without an answer that are named."""


def before(plans: Sequence[Plan]) -> Table:
    """A row a teacher, and their sum: studies, answers on disk with their marks, and of what is to be asked the
    tokens that are read and written, the cost as expected and at most, and the minutes that limits demand."""
    rows = [
        (
            plan.label,
            plan.endpoint.model,
            _number(len(plan.items)),
            _number(len(plan.answers)),
            *(_number(plan.marks[mark]) for mark in MARKS),
            _number(len(plan.questions)),
            *map(_number, plan.tokens),
            _money(plan.cost),
            _money(plan.most),
            _minutes(plan.minutes),
        )
        for plan in plans
    ]
    total = (
        "all",
        "",
        _number(sum(len(plan.items) for plan in plans)),
        _number(sum(len(plan.answers) for plan in plans)),
        *(_number(sum(plan.marks[mark] for plan in plans)) for mark in MARKS),
        _number(sum(len(plan.questions) for plan in plans)),
        *(_number(sum(plan.tokens[part] for plan in plans)) for part in (0, 1)),
        _money(_sum(plan.cost for plan in plans)),
        _money(_sum(plan.most for plan in plans)),
        _minutes(max((plan.minutes for plan in plans), default=0.0)),
    )
    names = (
        "teacher",
        "model",
        "studies",
        "on disk",
        *MARKS,
        "to ask",
        "read",
        "written",
        "cost",
        "at most",
        "minutes",
    )
    return _table("to ask", names, [*rows, *([total] if len(rows) > 1 else [])], text=2)


def after(plans: Sequence[Plan], outcomes: Mapping[str, Outcome]) -> Table:
    """A row a teacher that was asked: answers that came, studies given up, studies without an answer, requests, tokens,
    cost, the seconds of half the answers, and why requests were sent again."""
    rows = []
    for plan in plans:
        if (own := outcomes.get(plan.label)) is None:
            continue
        marks = Counter(answer.mark for answer in own.answers)
        seconds = [answer.seconds for answer in own.answers]
        rows.append(
            (
                plan.label,
                _number(len(own.answers)),
                *(_number(marks[mark]) for mark in MARKS),
                _number(len(own.failed)),
                _number(lacking(plan, own)),
                _number(own.sent),
                _number(sum(answer.input_tokens or 0 for answer in own.answers)),
                _number(sum(answer.output_tokens or 0 for answer in own.answers)),
                _money(_sum(answer.cost for answer in own.answers)),
                f"{median(seconds):,.1f}" if seconds else "",
                ", ".join(f"{count} {why}" for why, count in own.again.most_common()),
            )
        )
    names = (
        "teacher",
        "answers",
        *MARKS,
        "failed",
        "left",
        "sent",
        "read",
        "written",
        "cost",
        "s an answer",
        "sent again",
    )
    return _table("asked", names, rows, text=1)


def lacking(plan: Plan, outcome: Outcome | None) -> int:
    """Studies that have no answer now."""
    come = {answer.study for answer in outcome.answers} if outcome else set()
    return sum(item.study.id not in plan.answers and item.study.id not in come for item in plan.items)


def remarks(plans: Sequence[Plan], outcomes: Mapping[str, Outcome]) -> list[str]:
    """What a table does not say: why asking ended, which studies failed, who answered in another's name, and what of a
    journal cannot be read."""
    found = []
    for plan in plans:
        own, name = outcomes.get(plan.label), f"teachers.{plan.label}"
        if plan.held.damaged or plan.held.foreign:
            what = f"{len(plan.held.damaged)} lines that were cut off and {plan.held.foreign} that are no answers"
            found.append(f"{name}: {plan.journal.path} has {what}; they are kept, and not read")
        if own is None:
            continue
        if own.ended:
            found.append(f"{name}, at {plan.endpoint.base_url or plan.endpoint.client}: asking ended, {own.ended}")
        if own.failed:
            some = "; ".join(f"{study}: {why}" for study, why in list(own.failed.items())[:SHOWN])
            more = f"; and {len(own.failed) - SHOWN} more" if len(own.failed) > SHOWN else ""
            found.append(f"{name}: {len(own.failed)} studies were given up ({some}{more})")
        if others := _others(plan, own):
            found.append(f"{name}: asked for {plan.endpoint.model}, answered by {others}")
    return [visible(text) for text in found]


def _others(plan: Plan, own: Outcome) -> str:
    """Models with another name than the one that was asked for; a date behind it makes it no other."""
    asked = plan.endpoint.model.split("/")[-1].lower()
    found = Counter(answer.answered_by for answer in own.answers if asked not in answer.answered_by.lower())
    return ", ".join(f"{name} ({count})" for name, count in found.most_common() if name)


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[str]], text: int) -> Table:
    """Columns without anything in them are left out."""
    rows = list(rows)
    kept = [i for i in range(len(names)) if i < text or any(row[i] not in ("", "0") for row in rows)]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i in kept:
        words = i < text or names[i] == "sent again"
        table.add_column(names[i], justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for row in rows:
        table.add_row(*(Text(row[i]) for i in kept))
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _money(value: float | None) -> str:
    """
    >>> _money(12.3456), _money(0.00384)
    ('12.35', '0.0038')
    """
    if value is None:
        return ""
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.2g}"


def _minutes(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else ""


def _sum(values: Iterable[float | None]) -> float | None:
    """None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
