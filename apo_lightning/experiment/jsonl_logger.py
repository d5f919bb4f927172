"""Every logged metric as one JSON line an optimiser step: the local truth, of which W&B is a mirror."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from apo_lightning.files import jsonlines

log = logging.getLogger(__name__)

FILE = "metrics.jsonl"


class JsonlLogger(Logger):
    """Writes ``metrics.jsonl`` in ``folder``: a line for each call of Lightning, so that a step of training and the
    validation after it are two lines of one ``step``. Steps count from 1, as everywhere here; Lightning's own count,
    which W&B has, begins at 0.

    Args:
        folder: where the file goes.
        rate: tells the learning rate, which stands in the lines of training as ``train/lr``.
        every: steps between two lines of training (the Trainer's ``log_every_n_steps``).

    Attributes:
        last: the newest values of training.
    """

    keeps_times = False
    """Times differ between runs whose metrics are equal: who measures them has a file of its own."""

    def __init__(self, folder: str | Path, rate: Callable[[], float] | None = None, every: int = 1) -> None:
        super().__init__()
        self.path, self.rate, self.every = Path(folder) / FILE, rate, every
        self.last: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> int:
        return 0

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the settings of a stage are its config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """
        Args:
            metrics: name to value; ``epoch``, which Lightning adds, is left out.
            step: optimiser steps before this one, as Lightning counts.
        """
        values = {name: float(value) for name, value in sorted(metrics.items()) if name != "epoch"}
        if not values:
            return
        if self.rate and any(name.startswith("train/") for name in values):
            values["train/lr"] = self.rate()
        self.last = values if "train/loss" in values else self.last
        jsonlines.append(self.path, {"step": (step or 0) + 1, **values})

    @rank_zero_only
    def continue_from(self, last: int) -> None:
        """Drop what a run that was cut off has logged after step ``last``, and damaged lines, with a warning for what
        is lost."""
        found = jsonlines.read_grown(self.path, keys=("step",))
        rows = [row for row in found.rows if isinstance(row["step"], int) and 0 < row["step"] <= last]
        once = {(row["step"], tuple(sorted(row))): row for row in rows}  # a step that was written twice
        rows = sorted(once.values(), key=lambda row: row["step"])
        lost = sorted(set(range(self.every, last + 1, self.every)) - {row["step"] for row in rows})
        if lost:
            log.warning(
                "%s: %d of the %d steps before the checkpoint cannot be read (the first is %d). Training goes on and "
                "is not touched by it; the curve has a gap.",
                self.path,
                len(lost),
                last // self.every,
                lost[0],
            )
        jsonlines.write(self.path, rows)
        self.last = next((row for row in reversed(rows) if "train/loss" in row), {})
