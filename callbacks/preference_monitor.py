"""Watches the absolute log-probability of t+ and of each teacher's text: margins alone hide that both may fall."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning.stages.step_means import StepMeans
from apo_lightning.types import BranchBatch
from callbacks import CALLBACKS


@CALLBACKS.register("preference_monitor")
class PreferenceMonitor(Callback):
    """Logs ``train/logp_rejected/<teacher>``, the mean log-probability of each teacher's texts in the step; NaN where a
    teacher that was heard before gave none."""

    observes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.means = StepMeans()
        self.heard: set[str] = set()
        self.step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: BranchBatch,
                           batch_idx: int) -> None:  # fmt: skip
        logps = outputs.get("policy_logps") if isinstance(outputs, dict) else None
        if logps is None:
            return
        for row, names in zip(logps, batch.sources, strict=True):
            known = {f"train/logp_rejected/{name}": value for value, name in zip(row[1:], names[1:], strict=False)}
            self.means.add(known, dict.fromkeys(known, 1))
        if trainer.global_step != self.step:  # else more micro-batches of this step follow
            self.step = trainer.global_step
            values = self.means.take(trainer.world_size)
            self.heard |= values.keys()
            pl_module.log_dict({name: values.get(name, math.nan) for name in sorted(self.heard)}, batch_size=1)

    def state_dict(self) -> dict[str, Any]:
        return {"heard": sorted(self.heard)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.heard = set(state_dict["heard"])
