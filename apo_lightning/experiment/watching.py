"""What is seen of a stage while Lightning is at work: a bar on a terminal, elsewhere a plain line every 30 seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from apo_lightning.experiment import overall
from apo_lightning.leader import console, say_plainly
from apo_lightning.progress import Meter

REFRESH = 0.25
"""Seconds between two pictures of a bar."""


class Watch(Callback):
    """Follows one fit, prediction or validation in the leader; it only looks.

    Args:
        name: of the stage.
        loss: the newest loss that was logged.
        first: batches of a prediction that an interrupted run has filed.
        course: the way of the run.
        clock: seconds, ever growing.
    """

    def __init__(
        self,
        name: str,
        loss: Callable[[], float | None] = lambda: None,
        first: int = 0,
        course: overall.Course = overall.RUN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.loss, self.first, self.course, self.clock = name, loss, first, course, clock
        self.meter, self.live, self.drawn, self.whole = Meter(name, 0), None, 0.0, False

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.whole = True
        self._begin(trainer.max_steps, trainer.global_step, "step")

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._at(trainer.global_step)  # what the step before has logged is there by now

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        self._at(trainer.global_step)
        self._end(told=True)

    def on_predict_start(self, trainer: Trainer, *_: Any) -> None:
        batches = trainer.world_size * int(sum(trainer.num_predict_batches))
        self._begin(self.first + batches, self.first, "batch")

    def on_predict_batch_start(self, trainer: Trainer, _module: Any, _batch: Any, number: int, *_: Any) -> None:
        self._at(self.first + number * trainer.world_size)

    def on_predict_end(self, *_: Any) -> None:
        self._end()

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._begin(trainer.world_size * int(sum(trainer.num_val_batches)), 0, "batch")

    def on_validation_batch_start(self, trainer: Trainer, _module: Any, _batch: Any, number: int, *_: Any) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._at(number * trainer.world_size)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._end()

    def on_exception(self, *_: Any) -> None:
        self._end()

    def _begin(self, total: int, first: int, unit: str) -> None:
        self.meter = Meter(self.name, total, first, unit, self.clock)
        self.meter.at(first, self.loss())
        if console.is_terminal:
            self.live = Live(self.picture(), console=console, auto_refresh=False, transient=True)
            self.live.start(refresh=True)
        elif first:
            self._tell()

    def _at(self, done: int) -> None:
        self.meter.at(done, self.loss())
        if self.live and self.clock() - self.drawn >= REFRESH:
            self.drawn = self.clock()
            self.live.update(self.picture(), refresh=True)
        if not self.live and self.meter.due():
            self._tell()

    def _end(self, *, told: bool = False) -> None:
        """The last picture goes, and a log gets a last line where a stage has learned what it learns."""
        if self.live:
            self.live.stop()
            self.live = None
        elif told:
            self._tell(ended=True)

    def _tell(self, *, ended: bool = False) -> None:
        numbers, place = self.meter.numbers(ended=ended), self._place(ended=ended)
        say_plainly("; ".join(filter(None, [f"  {self.name}: {numbers}", place])))

    def _place(self, *, ended: bool = False) -> str:
        return self.course.place(0.0 if ended else self.meter.left, whole=self.whole)

    def picture(self) -> Table:
        """Two lines, however narrow the terminal is: the stage, and the whole run."""
        row = Table.grid(expand=True, padding=(0, 1))
        row.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=self.meter.total, completed=self.meter.done)
        row.add_row(Text(f"  {self.name}"), bar, Text(self.meter.numbers()))
        both = Table.grid(expand=True)
        both.add_row(row)
        both.add_row(Text(f"  {self._place()}", style="dim", no_wrap=True, overflow="ellipsis"))
        return both
