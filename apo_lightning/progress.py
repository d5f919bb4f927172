"""Loops and stages that take more than a few seconds: how far they are, at what pace, and what time is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only
from rich.progress import track

from apo_lightning.console import Console

T = TypeVar("T")
LONG = 500
"""Below this many items no bar is drawn."""
SPACING = 30.0
"""Seconds between two plain lines, where there is no terminal."""


def duration(seconds: float) -> str:
    """
    >>> [duration(s) for s in (0.2, 89, 90, 5_400, 100_000)]
    ['1 s', '89 s', '2 min', '1 h 30 min', '1 d 4 h']
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if minutes < 90:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


class Meter:
    """How far one loop is. Its pace is that of this process, without the first item where there are more: that one
    also loads and compiles.

    Args:
        name: of what is done.
        total: items in all, those of an interrupted run included.
        first: items that an interrupted run has done.
        unit: what one item is.
        clock: seconds, ever growing.
    """

    def __init__(
        self, name: str, total: int, first: int = 0, unit: str = "step", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self.total, self.done, self.unit, self.clock = name, total, first, unit, clock
        self.loss: float | None = None
        self.said = self.now = clock()
        self.marks = [(self.now, first)]

    def at(self, done: int, loss: float | None = None) -> None:
        """``done`` of the items are done, ``loss`` is the newest one."""
        self.loss = self.loss if loss is None else loss
        if done <= self.done:
            return
        self.done, self.now = done, self.clock()
        if len(self.marks) == 1:
            self.marks.append((self.now, done))

    @property
    def pace(self) -> float | None:
        """Seconds an item; None before the first."""
        began, first = next((mark for mark in reversed(self.marks) if mark[1] < self.done), (0.0, self.done))
        return (self.now - began) / (self.done - first) if self.done > first else None

    @property
    def left(self) -> float | None:
        """Seconds until the last item is done; None: not known yet."""
        pace = self.pace
        return None if pace is None else pace * max(0, self.total - self.done)

    def due(self) -> bool:
        """Whether the next plain line is due; it is then taken as said."""
        is_due = self.clock() - self.said >= SPACING
        if is_due:
            self.said = self.clock()
        return is_due

    def numbers(self, *, ended: bool = False) -> str:
        """``step 12 of 350, loss 1.234, 0.52 s/step, 3 min left``; what is not known yet is left out, and where it has
        ended the time left."""
        said = [f"{self.unit} {self.done:,} of {self.total:,}"]
        said += [f"loss {self.loss:.4g}"] if self.loss is not None else []
        said += [f"{self.pace:.3g} s/{self.unit}"] if self.pace is not None else []
        said += [f"{duration(self.left)} left"] if self.left and not ended else []
        return ", ".join(said)


def watch(items: Iterable[T], total: int, text: str) -> Iterator[T]:
    """``items`` one after the other, with a bar on standard error where that is a terminal, and elsewhere a plain line
    there every 30 seconds."""
    console = Console(stderr=True)
    if rank_zero_only.rank != 0:
        yield from items
    elif console.is_terminal:
        shown = total > LONG
        yield from track(items, f"  {text}", total=total, console=console, transient=True) if shown else items
    else:
        yield from _in_lines(items, Meter(text, total, unit="item"), console)


def _in_lines(items: Iterable[T], meter: Meter, console: Console) -> Iterator[T]:
    for done, item in enumerate(items):
        meter.at(done)
        if meter.due():
            console.print(f"  {meter.name}: {meter.numbers()}", markup=False, highlight=False, soft_wrap=True)
        yield item
