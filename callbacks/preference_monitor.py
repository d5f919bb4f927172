"""Watches t+ and each teacher's text by themselves: a mean margin hides that the log-probability of both may fall, and
which teacher is not told apart."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning.metrics import rewards, trl_names
from apo_lightning.stages.step_means import StepMeans
from apo_lightning.types import BranchBatch
from callbacks import CALLBACKS


@CALLBACKS.register("preference_monitor")
class PreferenceMonitor(Callback):
    """Logs what every optimiser step does to t+ and to each teacher's text, and the same under TRL's names.

    Means over the studies of the step:

    - ``train/logp_chosen`` and ``train/logp_rejected/<teacher>``: absolute log-probabilities (nats);
    - ``train/reward_chosen``, ``train/reward/<teacher>``, ``train/margin/<teacher>``: as the loss takes them;
    - ``train/rank1_accuracy`` and beside it ``train/rank1_chance``, see `metrics.rewards.of_batch`;
    - ``train/rewards/chosen``, ``train/logps/rejected`` and the others that TRL's trainers log, over pairs: see
      `metrics.trl_names.of_pairs`.

    A loss without rewards (plain fine-tuning on t+) has log-probabilities alone. What the loss logs under the same name
    stays the loss's. NaN where a teacher that was heard before gave nothing.
    """

    observes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.means = StepMeans()
        self.heard: set[str] = set()
        self.step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: BranchBatch, batch_idx: int
    ) -> None:
        logps = outputs.get("policy_logps") if isinstance(outputs, dict) else None
        if logps is None:
            return
        values, counts = rewards.of_batch(logps, outputs.get("rewards"), batch.sources)
        pairs = trl_names.of_pairs(logps, outputs.get("rewards"), batch.sources)
        values, counts = values | pairs[0], counts | pairs[1]
        taken = outputs.get("metrics", {})
        self.means.add(
            {f"train/{k}": v for k, v in values.items() if k not in taken}, {f"train/{k}": n for k, n in counts.items()}
        )
        if trainer.global_step != self.step:  # else more micro-batches of this step follow
            self.step = trainer.global_step
            values = self.means.take(trainer.world_size)
            self.heard |= values.keys()
            pl_module.log_dict({name: values.get(name, math.nan) for name in sorted(self.heard)}, batch_size=1)

    def state_dict(self) -> dict[str, Any]:
        return {"heard": sorted(self.heard)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.heard = set(state_dict["heard"])
