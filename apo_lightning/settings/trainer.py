"""What a stage tells Lightning's Trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from apo_lightning.settings.checks import choice, positive

STEPS = "stages.<stage>.steps says how long a stage trains"
TIME = f"a time would make its result depend on the machine: {STEPS}, and a stopped run goes on with the same command"
OURS = "the data module spreads and orders the studies"


@dataclass
class TrainerSettings:
    """Arguments of Lightning's Trainer under its own names, with its defaults but for ``num_sanity_val_steps``,
    ``log_every_n_steps``, ``enable_model_summary`` and ``strategy``.

    ``strategy`` is one of those whose saved weights are tested: ``single`` (or ``auto``), ``ddp``, ``fsdp2``.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "single"
    precision: str = "32-true"
    cpu_offload: bool = False
    """``fsdp2`` only: parameters, gradients and the optimiser's state stay in the host's memory, and a layer comes to
    the device while it computes. Lightning has it as an argument of its strategies."""
    fast_dev_run: bool | int = False
    """Batches after which the first stage that is not stored ends, with nothing of it stored."""
    limit_train_batches: int | float | None = None
    """Of an epoch: a stage still trains all of its steps, then in several epochs."""
    limit_val_batches: int | float | None = None
    val_check_interval: int | float | None = None
    """Batches (not optimiser steps) between two validations; none where null and nothing asks for one."""
    num_sanity_val_steps: int = 0
    log_every_n_steps: int = 1
    gradient_clip_algorithm: str | None = None
    deterministic: bool | str | None = None
    benchmark: bool | None = None
    inference_mode: bool = True
    sync_batchnorm: bool = False
    profiler: str | None = None
    """``simple``, ``advanced`` or ``pytorch``: its table lies in the stage's folder."""
    detect_anomaly: bool = False
    enable_progress_bar: bool | None = None
    """Null or true: a bar on a terminal, elsewhere a plain line every 30 seconds; false: neither."""
    enable_model_summary: bool = False
    enable_autolog_hparams: bool = True

    elsewhere: ClassVar[dict[str, str]] = {
        "nodes": "It is trainer.num_nodes now, as in Lightning",
        "log_every": "It is trainer.log_every_n_steps now, as in Lightning",
        "accumulate_grad_batches": "It is stages.<stage>.accumulate",
        "gradient_clip_val": "It is stages.<stage>.optim.grad_clip",
        "max_steps": STEPS,
        "min_steps": STEPS,
        "max_epochs": STEPS,
        "min_epochs": STEPS,
        "max_time": TIME,
        "callbacks": "They are named under callbacks, beside trainer",
        "logger": "metrics.jsonl is always written, and wandb has a section of its own",
        "enable_checkpointing": "stages.<stage>.checkpoint_every says how often, stages.<stage>.keep what is handed on",
        "default_root_dir": "It is runs_dir",
        "overfit_batches": "preset=overfit takes a few studies and trains on them",
        "limit_predict_batches": "Every study is answered; data.limit_studies takes fewer",
        "limit_test_batches": "Every study is answered; data.limit_studies takes fewer",
        "check_val_every_n_epoch": "A stage is one pass without end; trainer.val_check_interval counts batches",
        "reload_dataloaders_every_n_epochs": OURS,
        "use_distributed_sampler": OURS,
        "barebones": "It switches off checkpoints and logs, which a stage needs",
        "plugins": "No file can hold one",
        "model_registry": "It would upload what is trained; wandb and the run folder keep results",
    }
    """Names that the Trainer has, or this section had, to where their meaning is said."""
    looks: ClassVar[tuple[str, ...]] = (
        "cpu_offload",
        "num_sanity_val_steps",
        "log_every_n_steps",
        "inference_mode",
        "profiler",
        "detect_anomaly",
        "enable_progress_bar",
        "enable_model_summary",
        "enable_autolog_hparams",
    )
    """Arguments that change no number."""
    spreads: ClassVar[tuple[str, ...]] = ("devices", "num_nodes", "strategy")
    """Those that say how the work is spread over devices, which changes no number but by rounding."""
    validates: ClassVar[tuple[str, ...]] = ("val_check_interval", "limit_val_batches")
    """Those that change one only where something is decided on the validation split."""
    fits: ClassVar[tuple[str, ...]] = (
        *validates,
        "fast_dev_run",
        "limit_train_batches",
        "gradient_clip_algorithm",
        "sync_batchnorm",
    )
    """Those that say nothing to a stage that only writes."""

    def __post_init__(self) -> None:
        kept = ("32-true", "bf16-mixed", "16-mixed")
        choice("precision", self.precision, kept, "what is trained stays float32")
        positive(devices=self.devices, num_nodes=self.num_nodes, log_every_n_steps=self.log_every_n_steps)
        positive(limit_train_batches=self.limit_train_batches, val_check_interval=self.val_check_interval)
        for name in ("limit_train_batches", "limit_val_batches", "val_check_interval"):
            value = getattr(self, name)
            if isinstance(value, float) and not 0 <= value <= 1:
                raise ValueError(f"{name} must be a whole number of batches or a share in [0, 1], got {value}")
        for name in ("fast_dev_run", "limit_val_batches", "num_sanity_val_steps"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name, known in (
            ("profiler", ("simple", "advanced", "pytorch")),
            ("gradient_clip_algorithm", ("norm", "value")),
            ("deterministic", (True, False, "warn")),
        ):
            if (value := getattr(self, name)) is not None and value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, or null, got {value!r}")

    def given(self, *names: str) -> dict[str, Any]:
        """Those of ``names`` (without any: all) whose values are not the default ones."""
        plain = TrainerSettings()
        chosen = names or tuple(vars(plain))
        return {name: value for name in chosen if (value := getattr(self, name)) != getattr(plain, name)}
