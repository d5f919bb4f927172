"""How fast a stage trains, what it computes for it, and how much memory it takes."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import psutil
import torch
from lightning.fabric.utilities.throughput import Throughput as Rates
from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning.files import jsonlines
from apo_lightning.types import BranchBatch
from callbacks import CALLBACKS


@CALLBACKS.register("throughput")
class Throughput(Callback):
    """Writes ``throughput.jsonl``: one line an optimiser step, and after the last a line ``"step": "mean"`` over all
    but the first, which warms caches up. A file of its own, since times differ between runs whose metrics are equal.

    Fields: ``seconds``; ``studies`` and ``tokens`` (scored ones of the answers; ``prompt_tokens`` beside them) of this
    process, and both a second; what the student counts (``images encoded``, ``reference passes``); ``memory_gb``, the
    most that this process has held so far: of the device where it is a GPU, else its resident set. A logger gets the
    rates over the last ``window`` steps, by Lightning's `Throughput`.

    Args:
        folder: where the file goes.
        window: steps of a rolling rate, >= 2.
    """

    observes: ClassVar[bool] = True

    def __init__(self, folder: str = ".", window: int = 10) -> None:
        if window < 2:
            raise ValueError(f"window must be >= 2, got {window}")
        self.path, self.window = Path(folder) / "throughput.jsonl", window
        self.rows: list[dict[str, Any]] = []
        self.sums: Counter[str] = Counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step, self.began = trainer.global_step, time.perf_counter()
        self.start, self.total = self.began, Counter()
        self.rates = Rates(world_size=trainer.world_size, window_size=self.window)
        self.counted = Counter(_counts(pl_module))
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        if trainer.is_global_zero:
            found = jsonlines.read_grown(self.path, keys=("step",)).rows
            self.rows = [row for row in found if isinstance(row["step"], int) and 0 < row["step"] <= self.step]
            jsonlines.write(self.path, self.rows)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: BranchBatch, batch_idx: int
    ) -> None:
        own = {
            "studies": len(batch),
            "tokens": int(batch.branch_mask.sum()),
            "prompt_tokens": sum(int(each.prefix_mask.sum()) for each in (batch, batch.damaged) if each is not None),
        }
        self.sums.update(own)
        self.total.update(own | {"batches": 1})
        if trainer.global_step == self.step:  # more micro-batches of this step follow
            return
        _wait(pl_module)
        now = time.perf_counter()
        row = {"step": trainer.global_step, **self._measured(now, pl_module)}
        self.step, self.began, self.sums = trainer.global_step, now, Counter()
        self.rates.update(
            time=now - self.start,
            batches=self.total["batches"],
            samples=self.total["studies"],
            lengths=self.total["tokens"],
        )
        if trainer.is_global_zero:
            self.rows.append(row)
            jsonlines.append(self.path, row)
            rolling = {f"throughput/{key}": value for key, value in self.rates.compute().items()}
            for logger in (each for each in trainer.loggers if getattr(each, "keeps_times", True)):
                logger.log_metrics(rolling | {"throughput/memory_gb": row["memory_gb"]}, step=self.step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.rows:
            jsonlines.append(self.path, {"step": "mean", **mean(self.rows)})

    def _measured(self, now: float, stage: LightningModule) -> dict[str, float]:
        seconds, counts = now - self.began, Counter(_counts(stage))
        new = {name: counts[name] - self.counted[name] for name in counts}
        self.counted = counts
        rates = {f"{name}_per_second": self.sums[name] / max(seconds, 1e-9) for name in ("studies", "tokens")}
        return {"seconds": seconds, **self.sums, **rates, **new, "memory_gb": _memory()}


def mean(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Totals over seconds and means of the rest, over all steps but the first; over that one if it is alone."""
    rest = rows[1:] or rows
    names = list(dict.fromkeys(name for row in rest for name in row if name != "step"))
    found = {name: sum(row.get(name, 0) for row in rest) / len(rest) for name in names}
    for name in ("studies", "tokens"):
        found[f"{name}_per_second"] = found[name] / max(found["seconds"], 1e-9)
    return found | {"memory_gb": max(row["memory_gb"] for row in rows)}


def _counts(stage: LightningModule) -> dict[str, int]:
    """What the student has computed so far; a stage of another kind counts nothing."""
    return dict(getattr(getattr(stage, "student", None), "counts", {}))


def _memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return psutil.Process().memory_info().rss / 1e9


def _wait(stage: LightningModule) -> None:
    """A GPU computes on while Python is ahead of it."""
    if stage.device.type == "cuda":
        torch.cuda.synchronize(stage.device)
