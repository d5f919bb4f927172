"""How far each teacher is: a bar with the time left, or a line now and then where nobody watches a terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from apo_lightning.collecting.journal import Answer
from apo_lightning.collecting.plan import Plan
from apo_lightning.console import Console
from apo_lightning.files.characters import visible

EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


class Watch:
    """Counts what comes of each teacher's questions.

    Args:
        plans: of the teachers.
        bars: None: lines are said.
        say: takes a line.
    """

    def __init__(self, plans: Sequence[Plan], bars: Progress | None, say: Callable[[str], None]) -> None:
        self.bars, self.say, self._said, self._began = bars, say, time.monotonic(), time.monotonic()
        self.total = {plan.label: len(plan.questions) for plan in plans}
        self.come = {plan.label: Counter[str]() for plan in plans}
        self.cost = Counter[str]()
        self._task: dict[str, TaskID] = {}
        if bars is not None:
            self._task = {name: bars.add_task(_shown(name), total=total, said="") for name, total in self.total.items()}

    def of(self, name: str) -> Callable[[Answer | None], None]:
        """What is called with each answer of a teacher, or None where a question was given up."""

        def come(answer: Answer | None) -> None:
            self.come[name]["failed" if answer is None else answer.mark or "whole"] += 1
            self.cost[name] += (answer.cost if answer else None) or 0.0
            if self.bars is not None:
                self.bars.update(self._task[name], advance=1, said=self._words(name))
            elif time.monotonic() - self._said >= EVERY:
                self._said = time.monotonic()
                self.say("; ".join(self._line(one) for one in self.total if self.total[one]))

        return come

    def _words(self, name: str) -> str:
        marked = ", ".join(f"{count} {mark}" for mark, count in self.come[name].items() if mark != "whole")
        cost = f"{self.cost[name]:,.2f}" if self.cost[name] else ""
        return "  ".join(filter(None, (cost, marked)))

    def _line(self, name: str) -> str:
        done, total = self.come[name].total(), self.total[name]
        seconds = (time.monotonic() - self._began) * (total - done) / max(done, 1)
        left = f", {seconds / 60:,.0f} min left" if 0 < done < total else ""
        return f"{visible(name)} {done:,}/{total:,}{left}"


@contextmanager
def watching(plans: Sequence[Plan], say: Callable[[str], None]) -> Iterator[Watch]:
    """Inside, bars are drawn on standard error where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Watch(plans, None, say)
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield Watch(plans, bars, say)


def _shown(name: str) -> str:
    return escape(visible(name))
