"""What the student says of a few validation studies while it is trained: a table in W&B, and a file."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import nn

from apo_lightning.files import jsonlines
from apo_lightning.settings import DecodingSettings
from apo_lightning.types import Answer, Example, Study
from callbacks import CALLBACKS

log = logging.getLogger(__name__)
COLUMNS = ("step", "study", "text", "cut", "truth")


@CALLBACKS.register("sample_table")
class SampleTable(Callback):
    """Lets the student answer the first validation studies when training ends, and every ``every`` steps where that
    is not 0. Each answer is a line of ``samples_step.jsonl`` and a row of the table ``samples`` in W&B.

    Training goes on as if nothing had been asked: random state, train and eval modes and what the student counts are
    put back. A student whose weights are sharded over processes is not asked. Texts of a data set under a use agreement
    are uploaded only with its ``acknowledge``; the file stays on this machine.

    Args:
        folder: where the file goes.
        upload: whether texts about these studies may be shown elsewhere; the program says so.
        every: optimiser steps between two tables; 0: at the end alone.
        studies: how many are asked.
        max_new_tokens: of an answer; it is written greedily.
    """

    observes: ClassVar[bool] = True

    def __init__(
        self, folder: str = ".", upload: bool = False, every: int = 0, studies: int = 4, max_new_tokens: int = 96
    ) -> None:
        for name, value, least in (("every", every, 0), ("studies", studies, 1)):
            if value < least:
                raise ValueError(f"{name} must be >= {least}, got {value}")
        self.path, self.upload, self.every, self.studies = Path(folder) / "samples_step.jsonl", upload, every, studies
        self.how = DecodingSettings(max_new_tokens=max_new_tokens)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.written = trainer.global_step
        if trainer.is_global_zero:
            found = jsonlines.read_grown(self.path, keys=("step",)).rows
            kept = [row for row in found if isinstance(row["step"], int) and row["step"] <= trainer.global_step]
            jsonlines.write(self.path, kept)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.every and trainer.global_step % self.every == 0:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module)

    def _show(self, trainer: Trainer, stage: LightningModule) -> None:
        """The leader asks; no other process takes part, and none is waited for."""
        step = trainer.global_step
        if not trainer.is_global_zero or step == self.written:
            return
        self.written = step
        studies = trainer.datamodule.studies("val")[: self.studies] if trainer.datamodule else []
        if not studies or stage.device_mesh is not None:
            why = "its weights are sharded" if studies else "there are no validation studies"
            log.warning("sample_table: the student is not asked, since %s.", why)
            return
        rows = [_row(step, *told) for told in zip(studies, self._ask(trainer, stage, studies), strict=True)]
        jsonlines.write(self.path, [*jsonlines.read_grown(self.path).rows, *rows])
        for logger in trainer.loggers if self.upload else ():
            if isinstance(logger, WandbLogger):
                cells = [[str(row[name]) if name == "truth" else row[name] for name in COLUMNS] for row in rows]
                logger.log_table("samples", columns=list(COLUMNS), data=cells, step=step)

    def _ask(self, trainer: Trainer, stage: LightningModule, studies: list[Study]) -> list[Answer]:
        student, data = stage.student, trainer.datamodule
        with undisturbed(student, stage.device), trainer.precision_plugin.forward_context():
            asked = trainer.train_dataloader.collate_fn([(Example(study), data.images(study)) for study in studies])
            batch = data.transfer_batch_to_device(asked, stage.device, 0)
            return [answers[0] for answers in student.write(batch, self.how)]


@contextmanager
def undisturbed(student: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, the student is in eval mode and reads no stored features; afterwards its modes, its counts, its features
    and the random state are what they were."""
    modes, counts, cache = {m: m.training for m in student.modules()}, student.counts.copy(), student.feature_cache
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []) if cuda or device.type == "cpu" else nullcontext():
        student.eval()
        student.feature_cache = None
        try:
            yield
        finally:
            student.feature_cache = cache
            student.counts.clear()
            student.counts.update(counts)
            for module, mode in modes.items():
                module.training = mode


def _row(step: int, study: Study, answer: Answer) -> dict[str, Any]:
    truth = {name: None if math.isnan(value) else int(value) for name, value in study.findings.items()}
    return {"step": step, "study": study.id, "text": answer.text, "cut": answer.cut, "truth": truth}
