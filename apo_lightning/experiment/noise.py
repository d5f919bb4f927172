"""What other libraries say of every one of our many small fits, and nobody needs to read. Each is named by where it
comes from, what kind it is and how it begins, so that nothing else is lost: neither ours nor what is new of theirs."""

from __future__ import annotations

import logging
import os
import re
import warnings
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """One warning.

    Attributes:
        module: in which Python says it arose.
        kind: its category.
        begins: pattern of how its message begins.
    """

    module: str
    kind: type[Warning]
    begins: str


WARNINGS = (
    # how many processes open images is said by data.workers, and measured by the throughput callback
    Known("lightning.pytorch.trainer.connectors.data_connector", UserWarning, r"The '\w+' does not have many workers"),
    # validation that is asked for without a validation_step is an error of ours before
    Known(
        "lightning.pytorch.trainer.configuration_validator",
        UserWarning,
        r"You passed in a `val_dataloader` but have no `validation_step`",
    ),
    # batches carry their own numbers
    Known("lightning.pytorch.loops.prediction_loop", UserWarning, r"Couldn't infer the batch indices"),
    # a stage that goes on saves beside what it has saved; what is newest and whole is read before
    Known("lightning.pytorch.callbacks.model_checkpoint", UserWarning, r"Checkpoint directory .* exists and is not em"),
    # a frozen reference and frozen towers are in eval mode on purpose
    Known("lightning.pytorch.loops.fit_loop", UserWarning, r"Found \d+ module\(s\) in eval mode"),
    # Lightning's own use of torch
    Known("lightning.pytorch.utilities._pytree", FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),
    # the first step of float16 may be skipped by its scaler, with the schedule one step ahead
    Known("lightning.pytorch.core.module", UserWarning, r"Detected call of `lr_scheduler\.step\(\)` before"),
    # one device a process, which is what is asked for
    Known("torch.distributed.c10d_logger", UserWarning, r"barrier\(\): using the device under current context"),
    # transformers and peft ask each other
    Known("transformers.modeling_utils", FutureWarning, r"`is_gradient_checkpointing` is deprecated"),
)
NOTES = {
    # of an optional kernel, on every machine without a GPU
    "bitsandbytes.backends.cpu.ops": r"Failed to load CPU gemm_4bit_forward from kernels-community",
}
"""Logger to how a note begins that it logs as a warning."""


def quiet_notes() -> None:
    """Silence `NOTES`: some come while a library is imported, so before anything else."""
    for name, begins in NOTES.items():
        logging.getLogger(name).addFilter(_Known(begins))


def quiet() -> None:
    """Silence `WARNINGS` and `NOTES`, what Lightning tells of each Trainer (level INFO), the bars of transformers, and
    W&B's own lines; its address stands in what we print."""
    from transformers.utils import logging as transformers_logging  # seconds, which a list of names need not wait for

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for own in WARNINGS:
        warnings.filterwarnings("ignore", own.begins, own.kind, re.escape(own.module) + r"\Z")
    quiet_notes()
    transformers_logging.disable_progress_bar()
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@dataclass(frozen=True)
class _Known(logging.Filter):
    """Equal ones are added once."""

    begins: str

    def filter(self, record: logging.LogRecord) -> bool:
        return not re.match(self.begins, record.getMessage())
