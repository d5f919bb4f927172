"""One fit or one prediction through Lightning: strategy, loggers, callbacks, resume, and who writes what."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import wandb
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_only
from rich.markup import escape
from torch import Tensor, nn
from torch import distributed as dist
from transformers.utils import logging as transformers_logging

from apo_lightning.console import Console
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.checkpoints import WholeFiles, WholeFolders, newest
from apo_lightning.hashing.contents import digest
from apo_lightning.settings import FitSettings, TrainerSettings, WandbSettings
from data_modules.base import CXRDataModule

T = TypeVar("T")
console = Console(highlight=False)


def is_leader() -> bool:
    """True in the one process that writes files and speaks."""
    return rank_zero_only.rank == 0


def connect(settings: TrainerSettings) -> None:
    """Join the other processes of this run, if there are any, before the first of them does anything that the others
    build on. Lightning would join them when the first Trainer starts, with the leader stages ahead.

    Raises:
        ConfigError: several devices are asked for, and this is the only process.
    """
    if settings.devices * settings.nodes == 1 or _joined():
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
    _beside.append(dist.new_group(backend="gloo", timeout=PATIENCE))


PATIENCE = timedelta(days=30)
"""What processes wait for the leader, at most: it may be waiting for another run. One that dies is noticed at once."""
_beside: list[Any] = []
"""The group in which processes wait for and hear from their leader, on the CPU, beside the one they train in."""


def barrier() -> None:
    """Wait for every process of this run, if there is more than one."""
    if _joined():
        dist.barrier(group=_beside[0] if _beside else None)


def from_leader(ask: Callable[[], T]) -> T:
    """What ``ask`` returns in the leader, in every process. The others do not call it: so none reads a file while the
    leader writes or removes it, and none decides otherwise than the leader."""
    if not _joined():
        return ask()
    answer = [ask() if is_leader() else None]
    dist.broadcast_object_list(answer, src=0, group=_beside[0] if _beside else None)
    return answer[0]


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


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


def wandb_logger(settings: WandbSettings, folder: Path, *, group: str, stage: str) -> list[WandbLogger]:
    """One W&B run a stage; offline it lies in ``folder``. Inside a W&B sweep the trial itself is the one run."""
    if settings.mode == "disabled" or in_wandb_sweep():
        return []
    _choose_mode(settings)
    return [
        WandbLogger(
            project=settings.project, entity=settings.entity, save_dir=str(folder), group=group, job_type=stage,
            name=f"{group}/{stage}", offline=settings.mode == "offline",
        )
    ]  # fmt: skip


def _choose_mode(settings: WandbSettings) -> None:
    """W&B reads its mode once in a process, when it is first used. A trial keeps the mode of its agent."""
    if not in_wandb_sweep():
        os.environ["WANDB_MODE"] = settings.mode


def in_wandb_sweep() -> bool:
    """True where ``wandb agent`` started this process as a trial."""
    return "WANDB_SWEEP_ID" in os.environ


def wandb_summary(settings: WandbSettings, folder: Path, values: dict[str, float], *, group: str) -> None:
    """The evaluation of an arm as a W&B run; inside a W&B sweep it is the trial's own, whose metric the sweep reads."""
    if settings.mode == "disabled" or not is_leader():
        return
    _choose_mode(settings)
    where = {} if in_wandb_sweep() else {"group": group, "name": f"{group}/evaluate", "mode": settings.mode}
    with wandb.init(
        project=settings.project, entity=settings.entity, dir=str(folder), job_type="evaluate", **where
    ) as run:
        run.log(values)


def wandb_report(settings: WandbSettings, folder: Path, *, group: str) -> None:
    """Tables, figures and, where they may be shown, example studies of a finished run as one W&B run, which the next
    report of the same run folder goes on with. A trial of a sweep has none: its own run says what it reached."""
    if settings.mode == "disabled" or in_wandb_sweep() or not is_leader():
        return
    from apo_lightning.reports import uploads  # slow to import, and only the end of a run needs it

    _choose_mode(settings)
    with wandb.init(
        project=settings.project, entity=settings.entity, dir=str(folder), job_type="report", group=group,
        name=f"{group}/report", id=f"report-{digest([group, str(folder.resolve())])[:16]}", resume="allow",
        mode=settings.mode,
    ) as run:  # fmt: skip
        run.log(uploads.gather(folder))


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


def warn(text: str) -> None:
    """A sentence that names files, from the leader only: not wrapped, and brackets in it are only brackets."""
    if is_leader():
        console.print(text, style="yellow", markup=False, soft_wrap=True)


def say(text: str) -> None:
    """One line to the terminal, from the leader only."""
    if is_leader():
        console.print(text)


def say_plainly(text: str) -> None:
    """`say` for text from elsewhere, in which a bracket is a bracket."""
    say(f"  {escape(text)}")
