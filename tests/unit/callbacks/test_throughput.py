"""throughput.jsonl: what it counts by hand, in a file of its own, and what a resumed run keeps."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from apo_lightning import config
from apo_lightning.errors import ConfigError
from callbacks import CALLBACKS, throughput
from callbacks.throughput import Throughput


class Batch:
    """Two studies: 5 and 3 tokens of answers, 4 and 2 of prompts."""

    damaged = None
    branch_mask = torch.tensor([[[1, 1, 1], [1, 1, 0]], [[1, 1, 0], [1, 0, 0]]])
    prefix_mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])

    def __len__(self) -> int:
        return 2


def test_prompts_with_damaged_images_are_counted_too(tmp_path: Path) -> None:
    batch = Batch()
    batch.damaged = Batch()
    watch, trainer, stage = Throughput(str(tmp_path)), SimpleNamespace(), None
    watch.sums, watch.total, watch.step = Counter(), Counter(), 0
    trainer.global_step = 0  # another micro-batch of the step follows
    watch.on_train_batch_end(trainer, stage, None, batch, 0)
    assert (watch.sums["prompt_tokens"], watch.sums["tokens"], watch.sums["studies"]) == (12, 8, 2)


def fit(watch: Throughput, begin: int, end: int, micro: int = 1) -> dict[str, float]:
    """Steps after ``begin`` up to ``end`` of ``micro`` batches each, a second a batch."""
    logged: dict[str, float] = {}
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.update(values))
    stage = SimpleNamespace(student=SimpleNamespace(counts={"images encoded": 7}), device=torch.device("cpu"))
    trainer = SimpleNamespace(global_step=begin, world_size=1, is_global_zero=True, loggers=[logger])
    watch.on_train_start(trainer, stage)
    for number in range(begin * micro + 1, end * micro + 1):
        trainer.global_step = number // micro
        stage.student.counts["images encoded"] += 2
        watch.on_train_batch_end(trainer, stage, {}, Batch(), 0)
    watch.on_train_end(trainer, stage)
    return logged


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks a second at every look."""
    ticks = iter(range(1000))
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: float(next(ticks)))


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "throughput.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("clock")
def test_a_step_of_two_batches_by_hand(tmp_path: Path) -> None:
    logged = fit(Throughput(str(tmp_path), window=2), 0, 3, micro=2)
    first, *_, last = rows(tmp_path)
    assert first | {"memory_gb": 0} == {
        "step": 1,
        "seconds": 1.0,
        "studies": 4,
        "tokens": 16,
        "prompt_tokens": 12,
        "studies_per_second": 4.0,
        "tokens_per_second": 16.0,
        "images encoded": 4,
        "memory_gb": 0,
    }
    assert 0 < first["memory_gb"] < 200
    assert last["step"] == "mean" and last["tokens"] == 16 and last["tokens_per_second"] == 16
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, "mean"]
    assert logged["throughput/device/samples_per_sec"] == 4 and logged["throughput/device/items_per_sec"] == 16


@pytest.mark.usefixtures("clock")
def test_a_resumed_run_keeps_the_steps_before_its_checkpoint(tmp_path: Path) -> None:
    fit(Throughput(str(tmp_path)), 0, 5)
    with (tmp_path / "throughput.jsonl").open("a") as out:
        out.write('{"step": 6, "sec')
    fit(Throughput(str(tmp_path)), 3, 6)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5, 6, "mean"]


def test_the_first_step_is_no_part_of_the_mean() -> None:
    steps = [
        {"step": n, "seconds": s, "studies": 4, "tokens": 8, "memory_gb": m}
        for n, s, m in ((1, 9.0, 3.0), (2, 1.0, 2.0), (3, 3.0, 2.0))
    ]
    found = throughput.mean(steps)
    assert found["seconds"] == 2.0 and found["tokens_per_second"] == 4.0 and found["memory_gb"] == 3.0
    assert throughput.mean(steps[:1])["seconds"] == 9.0


def test_a_window_of_one_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.throughput\.window must be >= 2, got 1"):
        config.build(CALLBACKS, {"window": 1}, "callbacks.throughput", None, folder=str(tmp_path))
