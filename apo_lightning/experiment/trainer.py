"""One fit or one prediction through Lightning: strategy, loggers, callbacks, resume, and who writes what."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from apo_lightning.errors import ConfigError, StoppedError
from apo_lightning.experiment import layouts, overall
from apo_lightning.experiment.checkpoints import WholeFiles, WholeFolders, newest, step_of
from apo_lightning.experiment.jsonl_logger import JsonlLogger
from apo_lightning.experiment.keeping import Best, Checkpoints, Validated
from apo_lightning.experiment.watching import Watch
from apo_lightning.leader import from_leader, is_leader, join_beside, joined, say, warn
from apo_lightning.settings import FitSettings, TrainerSettings
from data_modules.base import CXRDataModule


def connect(settings: TrainerSettings) -> None:
    """Join the other processes of this run, if there are any, before the first of them does anything that the others
    build on. Lightning would join them when the first Trainer starts, with the leader stages ahead.

    Raises:
        ConfigError: several devices are asked for, and this is the only process.
    """
    if layouts.processes(settings) == 1 or joined():
        return
    own = trainer(settings, fit=False, callbacks=[]).strategy
    if not own.cluster_environment.creates_processes_externally:
        raise ConfigError(
            f"trainer.devices={settings.devices} and trainer.num_nodes={settings.num_nodes} need several processes, "
            "and this is the only one. Start it with 'apo run', torchrun or srun."
        )
    own.setup_environment()
    join_beside()


def strategy(settings: TrainerSettings, *, fit: bool) -> Any:
    """Lightning's strategy. Under FSDP2 only training is sharded; answers are written by whole models side by side."""
    if settings.strategy == "fsdp2":
        if not fit:
            return "ddp"
        return WholeFolders(layouts.processes(settings), cpu_offload=settings.cpu_offload)
    return "auto" if settings.strategy == "single" else settings.strategy


def takes_apart(settings: TrainerSettings) -> bool:
    """Whether a strategy replaces a network's parameters by pieces of them, so that no other student can share it."""
    return settings.strategy == "fsdp2"


PASSED = (
    "accelerator",
    "devices",
    "num_nodes",
    "precision",
    "log_every_n_steps",
    "num_sanity_val_steps",
    "deterministic",
    "benchmark",
    "inference_mode",
    "detect_anomaly",
    "enable_model_summary",
    "enable_autolog_hparams",
)
TO_FIT = ("fast_dev_run", "limit_train_batches", "gradient_clip_algorithm", "sync_batchnorm")
PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def trainer(
    settings: TrainerSettings, *, fit: bool, callbacks: Sequence[Callback], loggers: Sequence[Any] = (), **options: Any
) -> Trainer:
    """A Trainer with this project's habits; the data module owns the order of the data."""
    sharded = fit and settings.strategy == "fsdp2"  # which writes its checkpoints itself
    theirs = any(isinstance(each, ProgressBar) for each in callbacks)
    passed = {name: getattr(settings, name) for name in (*PASSED, *(TO_FIT if fit else ()))}
    made = Trainer(
        **passed,
        strategy=strategy(settings, fit=fit),
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        enable_progress_bar=theirs,
        use_distributed_sampler=False,
        plugins=[] if sharded else [WholeFiles()],
        **options,
    )
    # On SIGTERM Lightning's handler enters a collective, in whatever the others are doing; a fit then ends as if it had
    # succeeded, a prediction goes on, and under SLURM the signal is ignored. `signals.raised` is there before.
    made._signal_connector.register_signal_handlers = lambda: None
    return made


def validates(settings: TrainerSettings, plan: FitSettings, callbacks: Mapping[str, Any] | Iterable[Callback]) -> bool:
    """Whether a stage is validated while it trains: an interval is given, the best weights are kept, or a callback
    monitors a metric of the validation split. Without, the split is not read.

    Args:
        callbacks: sections of the experiment by name, or callbacks.
    """
    own = callbacks.values() if isinstance(callbacks, Mapping) else callbacks
    watched = [each.get("monitor") if isinstance(each, Mapping) else getattr(each, "monitor", None) for each in own]
    asked = plan.keep == "best" or any(str(name).startswith("val/") for name in watched)
    return asked or settings.val_check_interval is not None


def decides(settings: TrainerSettings, plan: FitSettings, active: Mapping[str, Any]) -> bool:
    """Whether weights that are handed on depend on what is validated.

    Args:
        active: sections of the callbacks that interfere.
    """
    return validates(settings, plan, active) and (plan.keep == "best" or bool(active))


def fit(
    stage: LightningModule,
    data: CXRDataModule,
    settings: TrainerSettings,
    plan: FitSettings,
    folder: Path,
    callbacks: Sequence[Callback],
    loggers: Sequence[Any],
) -> dict[str, Any]:
    """Train ``stage``; if ``folder`` holds checkpoints of an interrupted fit, go on from the newest whole one.

    Returns:
        what is to be known of it: ``stopped``, the step where it was ended early; ``kept``, step and metric of the best
        weights, where those are handed on.

    Raises:
        ConfigError: it is to be validated and cannot be.
        StoppedError: ``fast_dev_run``: it went well, and is not stored.
    """
    validated = validates(settings, plan, callbacks)
    if validated and not is_overridden("validation_step", stage):
        raise ConfigError(
            f"stages.{stage.name}.keep, trainer.val_check_interval or a callback's monitor asks for validation, and "
            f"{type(stage).__name__} has no validation_step."
        )
    journal = JsonlLogger(folder, every=settings.log_every_n_steps)
    best = Best(folder, plan) if plan.keep == "best" else None
    before, after = [Validated()] if validated else [], [best] if best else []
    run = trainer(
        settings,
        fit=True,
        callbacks=[
            *before,
            *callbacks,
            *after,
            Checkpoints(folder, plan.checkpoint_every),
            *_watch(settings, callbacks, stage.name, lambda: journal.last.get("train/loss")),
        ],
        loggers=[journal, *loggers],
        max_steps=plan.steps,
        max_epochs=-1,
        accumulate_grad_batches=plan.accumulate,
        gradient_clip_val=plan.optim.grad_clip,
        profiler=_profiler(settings, folder),
        **_validation(settings, plan, validated),
    )
    journal.rate = lambda: run.optimizers[0].param_groups[0]["lr"]
    found = _go_on(stage, folder, journal)
    run.fit(stage, data, ckpt_path=found, weights_only=True)
    return _result(stage, settings, plan, run, best)


def _go_on(stage: LightningModule, folder: Path, journal: JsonlLogger) -> Path | None:
    """The newest whole checkpoint of an interrupted fit."""
    found, damaged = from_leader(lambda: newest(folder / "checkpoints", stage))
    for problem in damaged:
        warn(f"    {problem}; going back to {'an earlier one' if found else 'the start'}.")
    if found:
        say(f"    continuing from {found.stem}")
    journal.continue_from(step_of(found) if found else 0)
    return found


def _result(
    stage: LightningModule, settings: TrainerSettings, plan: FitSettings, run: Trainer, best: Best | None
) -> dict[str, Any]:
    if settings.fast_dev_run:
        raise StoppedError(
            f"trainer.fast_dev_run={settings.fast_dev_run}: stage {stage.name} went through its batches without an "
            "error, and nothing of it is stored, so that no later stage can read it. Leave it out for the run "
            "itself; preset=debug goes through every stage."
        )
    facts: dict[str, Any] = {}
    if run.global_step < plan.steps:
        facts["stopped"] = run.global_step
        say(f"    ended early, at step {run.global_step} of {plan.steps}")
    if best:
        facts["kept"] = best.hand_on(stage)
        score = facts["kept"][plan.monitor]
        say(f"    handed on: the weights of step {facts['kept']['step']}, {plan.monitor} {score:.4g}")
    return facts


def _validation(settings: TrainerSettings, plan: FitSettings, wanted: bool) -> dict[str, Any]:
    """When a stage is validated; without a word about it, as often as it is saved."""
    if not wanted:
        return {"limit_val_batches": 0}
    interval = settings.val_check_interval
    if interval is None:
        interval = plan.checkpoint_every * plan.accumulate
    epochs = 1 if isinstance(interval, float) else None  # None: batches count on over epochs
    how = {"val_check_interval": interval, "check_val_every_n_epoch": epochs}
    return how | {"limit_val_batches": settings.limit_val_batches}


def _profiler(settings: TrainerSettings, folder: Path) -> Any:
    """Lightning's, whose table goes into the stage's folder."""
    return PROFILERS[settings.profiler](dirpath=folder, filename="profile") if settings.profiler else None


def _watch(settings: TrainerSettings, callbacks: Sequence[Callback], name: str, *how: Any) -> list[Callback]:
    """What is seen of it, in the leader, unless a bar of the experiment's own shows it or none is wanted."""
    theirs = any(isinstance(each, ProgressBar) for each in callbacks)
    shown = settings.enable_progress_bar is not False and is_leader() and not theirs
    return [Watch(overall.RUN.stage or name, *how)] if shown else []


def predict(
    writer: LightningModule,
    data: CXRDataModule,
    settings: TrainerSettings,
    callbacks: Sequence[Callback],
    first: int = 0,
) -> None:
    """Let ``writer`` answer the connected examples; callbacks file the answers. ``first``: batches that are filed
    already, and not asked again."""
    seen = _watch(settings, callbacks, "answers", lambda: None, first)
    trainer(settings, fit=False, callbacks=[*callbacks, *seen]).predict(writer, data, return_predictions=False)


def validate(module: LightningModule, data: CXRDataModule, settings: TrainerSettings) -> None:
    """Let ``module`` look at the connected validation examples, each once, spread over the processes."""
    seen = _watch(settings, [], "likelihoods")
    trainer(settings, fit=False, callbacks=seen).validate(module, data, verbose=False)


def device(settings: TrainerSettings) -> torch.device:
    """Where a model of this process is put."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None or settings.accelerator == "cpu":
        return torch.device("cpu")
    return torch.device(found.type, int(os.environ.get("LOCAL_RANK", 0)))


def whole_state(student: nn.Module) -> dict[str, Tensor] | None:
    """State dict of the student's model, gathered from all processes where parameters are sharded, else None. Every
    process must call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(student, FSDPModule):
        return None
    state = get_model_state_dict(student, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
