"""Every logged metric as one JSON line an optimiser step: the local truth, of which W&B is a mirror."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import CALLBACKS


@CALLBACKS.register("metrics_jsonl")
class MetricsJsonl(Callback):
    """Writes ``metrics.jsonl`` in ``folder``. A resumed run first drops the lines after its checkpoint."""

    observes: ClassVar[bool] = True

    def __init__(self, folder: str = ".") -> None:
        self.path = Path(folder) / "metrics.jsonl"
        self.written = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            kept = [line for line in self._lines() if json.loads(line)["step"] <= trainer.global_step]
            scratch = self.path.with_suffix(".tmp")
            scratch.write_text("".join(f"{line}\n" for line in kept))
            scratch.replace(self.path)
            self.written = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any,
                           batch_idx: int) -> None:  # fmt: skip
        step = trainer.global_step
        if not trainer.is_global_zero or step == self.written:
            return
        self.written = step
        row = {"step": step, **{k: _plain(v) for k, v in sorted(trainer.callback_metrics.items())}}
        row["train/lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        with self.path.open("a") as out:
            out.write(json.dumps(row) + "\n")

    def _lines(self) -> list[str]:
        """Whole lines so far; a kill may have cut the last one."""
        text = self.path.read_text() if self.path.exists() else ""
        return text.split("\n")[:-1]


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
