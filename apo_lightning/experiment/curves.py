"""What a stage logs while it trains, told to who listens in this process: a sweep, which may end it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from apo_lightning.experiment.jsonl_logger import FILE
from apo_lightning.experiment.run_names import Who
from apo_lightning.files import jsonlines

Hear = Callable[[str, int, float], None]
"""Takes the name of a curve (``<arm>/seed<k>/<stage>/<name>``), how many values it has, and the last of them."""

_hearers: list[Hear] = []


@contextmanager
def heard(hear: Hear) -> Iterator[None]:
    """Inside, ``hear`` is told of every value that a stage of this process logs. What it raises ends the stage, whose
    checkpoints stay."""
    _hearers.append(hear)
    try:
        yield
    finally:
        _hearers.remove(hear)


def loggers(who: Who, stage: str, folder: Path) -> list[Logger]:
    """For a fit; none where nobody listens."""
    return [Curves(who.key(stage), folder)] if _hearers else []


class Curves(Logger):
    """Counts the values of each curve and tells of each, those that were logged before a stop first.

    Args:
        prefix: of the curves' names.
        folder: of the stage.
    """

    def __init__(self, prefix: str, folder: Path) -> None:
        super().__init__()
        self.prefix, self.path = prefix, folder / FILE
        self.counts: Counter[str] | None = None

    @property
    def name(self) -> str:
        return "curves"

    @property
    def version(self) -> int:
        return 0

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Takes nothing."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """The stage's own file has these values already: it is the first of its loggers."""
        new = [metrics]
        if self.counts is None:
            self.counts, new = Counter(), jsonlines.read_grown(self.path, keys=("step",)).rows
        for row in new:
            for name, value in row.items():
                self.counts[name] += 1
                for hear in _hearers:
                    hear(f"{self.prefix}/{name}", self.counts[name], math.nan if value is None else float(value))
