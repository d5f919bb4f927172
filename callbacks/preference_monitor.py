"""Watches the absolute log-probability of t+ and of each teacher's text: margins alone hide that both may fall."""

from __future__ import annotations

from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning.types import BranchBatch
from callbacks import CALLBACKS


@CALLBACKS.register("preference_monitor")
class PreferenceMonitor(Callback):
    """Logs ``train/logp_rejected/<teacher>``, the mean log-probability of each teacher's texts in the batch."""

    observes: ClassVar[bool] = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: BranchBatch,
                           batch_idx: int) -> None:  # fmt: skip
        logps = outputs.get("policy_logps") if isinstance(outputs, dict) else None
        if logps is None:
            return
        found: dict[str, list[float]] = {}
        for row, names in zip(logps.tolist(), batch.sources, strict=True):
            for value, name in zip(row[1:], names[1:], strict=False):
                found.setdefault(name, []).append(value)
        values = {f"train/logp_rejected/{name}": sum(v) / len(v) for name, v in found.items()}
        pl_module.log_dict(values, batch_size=len(batch))
