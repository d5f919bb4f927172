"""One fit or one prediction through Lightning: strategy, loggers, callbacks, resume, and who writes what."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from apo_lightning.errors import ConfigError
from apo_lightning.experiment.checkpoints import WholeFiles, WholeFolders, newest
from apo_lightning.leader import console, from_leader, is_leader, join_beside, joined, say, warn
from apo_lightning.settings import FitSettings, TrainerSettings
from data_modules.base import CXRDataModule


def connect(settings: TrainerSettings) -> None:
    """Join the other processes of this run, if there are any, before the first of them does anything that the others
    build on. Lightning would join them when the first Trainer starts, with the leader stages ahead.

    Raises:
        ConfigError: several devices are asked for, and this is the only process.
    """
    if settings.devices * settings.nodes == 1 or joined():
        return
    own = trainer(settings, fit=False, callbacks=[]).strategy
    if isinstance(own.launcher, _MultiProcessingLauncher):
        return  # it forks inside of fit and predict; outside of them there is one process
    if not own.cluster_environment.creates_processes_externally:
        raise ConfigError(
            f"trainer.devices={settings.devices} and trainer.nodes={settings.nodes} need several processes, and this "
            "is the only one. Start it with 'apo run', torchrun or srun."
        )
    own.setup_environment()
    join_beside()


def quiet() -> None:
    """Silence what Lightning, W&B and transformers say about every one of our many small fits."""
    for name in ("lightning.pytorch", "lightning.fabric", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*LeafSpec.*", ".*barrier.*", ".*lr_scheduler.step.*",
                 ".*tensorboard.*", ".*is_gradient_checkpointing.*", ".*in eval mode.*",
                 ".*isinstance.treespec.*"):  # fmt: skip
        warnings.filterwarnings("ignore", text)
    transformers_logging.disable_progress_bar()
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def strategy(settings: TrainerSettings, *, fit: bool) -> Any:
    """Lightning's strategy. Under FSDP2 only training is sharded; answers are written by whole models side by side."""
    if settings.strategy == "fsdp2":
        if not fit:
            return "ddp"
        return WholeFolders(data_parallel_size=settings.devices * settings.nodes, tensor_parallel_size=1)
    return "auto" if settings.strategy == "single" else settings.strategy


def takes_apart(settings: TrainerSettings) -> bool:
    """Whether a strategy replaces a network's parameters by pieces of them, so that no other student can share it."""
    return settings.strategy not in ("single", "auto") and not settings.strategy.startswith("ddp")


def trainer(settings: TrainerSettings, *, fit: bool, callbacks: Sequence[Callback], loggers: Sequence[Any] = (),
            **options: Any) -> Trainer:  # fmt: skip
    """A Trainer with this project's habits; the data module owns the order of the data."""
    sharded = fit and settings.strategy == "fsdp2"  # which writes its checkpoints itself
    bar = [RichProgressBar(leave=False)] if console.is_terminal and is_leader() else []
    made = Trainer(
        accelerator=settings.accelerator, devices=settings.devices, num_nodes=settings.nodes,
        strategy=strategy(settings, fit=fit), precision=settings.precision, logger=list(loggers) or False,
        callbacks=[*callbacks, *bar], log_every_n_steps=settings.log_every, enable_progress_bar=bool(bar),
        enable_model_summary=False, use_distributed_sampler=False,
        plugins=[] if sharded else [WholeFiles()], **options,
    )  # fmt: skip
    # On SIGTERM Lightning's handler enters a collective, in whatever the others are doing; a fit then ends as if it had
    # succeeded, a prediction goes on, and under SLURM the signal is ignored. `signals.raised` is there before.
    made._signal_connector.register_signal_handlers = lambda: None
    return made


def fit(stage: LightningModule, data: CXRDataModule, settings: TrainerSettings, plan: FitSettings, folder: Path,
        callbacks: Sequence[Callback], loggers: Sequence[Any]) -> None:  # fmt: skip
    """Train ``stage``; if ``folder`` holds checkpoints of an interrupted fit, go on from the newest whole one."""
    checkpoints = ModelCheckpoint(
        dirpath=folder / "checkpoints", filename="{step}", every_n_train_steps=plan.checkpoint_every, monitor="step",
        mode="max", save_top_k=2, save_on_train_epoch_end=False,
    )  # fmt: skip
    found, damaged = from_leader(lambda: newest(folder / "checkpoints", stage))
    run = trainer(
        settings, fit=True, callbacks=[*callbacks, checkpoints], loggers=loggers, max_steps=plan.steps, max_epochs=-1,
        accumulate_grad_batches=plan.accumulate, gradient_clip_val=plan.optim.grad_clip,
    )  # fmt: skip
    for problem in damaged:
        warn(f"    {problem}; going back to {'an earlier one' if found else 'the start'}.")
    if found:
        say(f"    continuing from {found.stem}")
    run.fit(stage, data, ckpt_path=found, weights_only=True)


def predict(
    writer: LightningModule, data: CXRDataModule, settings: TrainerSettings, callbacks: Sequence[Callback]
) -> None:
    """Let ``writer`` answer the connected examples; callbacks file the answers."""
    trainer(settings, fit=False, callbacks=callbacks).predict(writer, data, return_predictions=False)


def device(settings: TrainerSettings) -> torch.device:
    """Where Lightning would put a model of this process."""
    return trainer(settings, fit=False, callbacks=[]).strategy.root_device


def whole_state(student: nn.Module) -> dict[str, Tensor] | None:
    """State dict of the student's model, gathered from all processes where parameters are sharded, else None. Every
    process must call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(student, FSDPModule):
        return None
    state = get_model_state_dict(student, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
