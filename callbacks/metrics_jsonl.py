"""Every logged metric as one JSON line an optimiser step: the local truth, of which W&B is a mirror."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning.files import jsonlines
from callbacks import CALLBACKS

log = logging.getLogger(__name__)


@CALLBACKS.register("metrics_jsonl")
class MetricsJsonl(Callback):
    """Writes ``metrics.jsonl`` in ``folder``. A resumed run first drops the lines after its checkpoint and the damaged
    ones, with a warning for what is lost."""

    observes: ClassVar[bool] = True

    def __init__(self, folder: str = ".") -> None:
        self.path = Path(folder) / "metrics.jsonl"
        self.written = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            jsonlines.write(self.path, self._kept(trainer.global_step))
            self.written = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
                           batch_idx: int) -> None:  # fmt: skip
        step = trainer.global_step
        if not trainer.is_global_zero or step == self.written:
            return
        self.written = step
        row = {"step": step, **{k: float(v) for k, v in sorted(trainer.callback_metrics.items())}}
        row["train/lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        jsonlines.append(self.path, row)

    def _kept(self, last: int) -> list[dict[str, Any]]:
        """Rows up to step ``last``; a kill may have cut a later one."""
        found = jsonlines.read_grown(self.path, keys=("step",))
        rows = {row["step"]: row for row in found.rows if isinstance(row["step"], int) and 0 < row["step"] <= last}
        lost = sorted(set(range(1, last + 1)) - rows.keys())
        if lost:
            log.warning(
                "%s: %d of the %d steps before the checkpoint cannot be read (the first is %d). Training goes on and "
                "is not touched by it; the curve has a gap.", self.path, len(lost), last, lost[0],
            )  # fmt: skip
        return [rows[step] for step in sorted(rows)]
