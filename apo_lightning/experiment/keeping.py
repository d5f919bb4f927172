"""What a stage hands on where it is validated: its last weights or its best, also after a stop in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from apo_lightning.errors import ArtifactError, ConfigError, did_you_mean
from apo_lightning.experiment import layouts
from apo_lightning.experiment.checkpoints import load_trained
from apo_lightning.files.atomic import removal
from apo_lightning.settings import FitSettings


class Checkpoints(ModelCheckpoint):
    """The two newest states to go on from. Where a validation follows a step, its state is saved behind it: a run that
    goes on would not validate that step again, and who decides by it would not know."""

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(
            dirpath=folder / "checkpoints",
            filename="{step}",
            every_n_train_steps=every,
            monitor="step",
            mode="max",
            save_top_k=2,
            save_on_train_epoch_end=False,
        )
        self.waiting: tuple[Any, ...] | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Of a fit that may have been spread over other devices."""
        layouts.count_anew(checkpoint, trainer.accumulate_grad_batches)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        loop = trainer.fit_loop
        if trainer.enable_validation and loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            self.waiting = rest
        else:
            super().on_train_batch_end(trainer, pl_module, *rest)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.waiting is not None:
            rest, self.waiting = self.waiting, None
            super().on_train_batch_end(trainer, pl_module, *rest)


class Best(ModelCheckpoint):
    """The weights that were best on the validation split, in a file beside the states to go on from. The second best
    stay until the next state is saved, which may be the one that a run goes on from.

    Args:
        folder: the stage's.
        plan: what is monitored.
    """

    def __init__(self, folder: Path, plan: FitSettings) -> None:
        super().__init__(
            dirpath=folder / "checkpoints",
            filename="best-{step}",
            monitor=plan.monitor,
            mode=plan.direction(),
            save_top_k=2,
            save_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of what was best before, what is still there; the folder may have been moved since."""
        held = {str(Path(self.dirpath) / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
        held = {path: score for path, score in held.items() if Path(path).exists()}
        best = (min if self.mode == "min" else max)(held, key=held.get) if held else ""
        worst = (max if self.mode == "min" else min)(held, key=held.get) if held else ""
        known = {"best_k_models": held, "best_model_path": best, "kth_best_model_path": worst}
        known |= {"best_model_score": held.get(best), "kth_value": held.get(worst, state_dict["kth_value"])}
        super().load_state_dict({**state_dict, **known, "dirpath": self.dirpath})

    def hand_on(self, stage: LightningModule) -> dict[str, float]:
        """Put the best weights into ``stage``. Every process must call it.

        Returns:
            their step, and what they reached.

        Raises:
            ArtifactError: they are not there.
        """
        path = Path(self.best_model_path)
        if not self.best_model_path or not path.exists():
            folder = Path(self.dirpath).parent
            raise ArtifactError(
                f"{self.dirpath} does not hold the best weights by {self.monitor}. Train the stage anew: "
                f"{removal(folder)}"
            )
        load_trained(stage, path)
        return {"step": int(path.stem.rpartition("=")[2]), self.monitor: float(self.best_model_score)}


class Validated(Callback):
    """Lets the last step be validated too, and sees that what others monitor is there."""

    def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True  # as early stopping does: Lightning then validates before it ends

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """
        Raises:
            ConfigError: nothing of that name is logged.
        """
        known = [name for name in trainer.callback_metrics if name.startswith("val/")]
        for each in trainer.callbacks:
            monitor = getattr(each, "monitor", None) or ""
            if monitor.startswith("val/") and monitor not in known:
                own = f"stages.{getattr(pl_module, 'name', '<stage>')}" if isinstance(each, Best) else None
                key = f"{own or f'callbacks.{type(each).__name__}'}.monitor"
                raise ConfigError(f"{key} '{monitor}' is not measured by this stage. {did_you_mean(monitor, known)}")
