"""What the GPU proof runs through Lightning: SPD and APO steps, what surrounds a fit, the whole pipeline once."""

from __future__ import annotations

import csv
import importlib.machinery
import importlib.util
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from contenders import BETA
from gpu_parts import DTYPE, GB, Bench, config
from gpu_sections import student
from gpu_table import Add

from apo_lightning.experiment import run_folder
from apo_lightning.hashing.contents import file_digest, remembered_digest
from apo_lightning.models import network
from apo_lightning.models.network import share
from apo_lightning.models.processor import NANO
from apo_lightning.scoring import Parts, precision
from apo_lightning.scoring.memory import choose, free_bytes
from apo_lightning.settings import OptimSettings, ScorerSettings

STEPS = 4
FITS: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("apo", dict(mode="packed"), False),
    ("spd", dict(mode="packed"), False),
    ("apo", dict(mode="packed"), True),
    ("spd", dict(mode="branchwise", rows=4), False),
    ("apo", dict(mode="auto"), False),
)
"""Stage, scorer, whether layers are recomputed."""
EXPERIMENT = Path(__file__).parents[1] / "experiments" / "smoke.yaml"


def fits(bench: Bench, add: Add) -> None:
    """A few optimiser steps of both stages on one study a step: time, and memory with AdamW and reference."""
    for stage, scorer, again in FITS:
        add(
            stage=stage,
            scorer=" ".join(map(str, scorer.values())),
            checkpointed=again,
            prompt=bench.prompts[0],
            **one_fit(bench, stage, scorer, again),
        )


def one_fit(bench: Bench, name: str, scorer: dict[str, Any], again: bool) -> dict[str, Any]:
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    from callbacks.frozen_guard import FrozenGuard

    stage = make_stage(bench, name, scorer, again)
    batches = [bench.batch(bench.setup(bench.prompts[0])) for _ in range(STEPS)]
    clock = _clock(bench)
    run = Trainer(
        accelerator="gpu" if bench.meter.on_gpu else "cpu",
        devices=1,
        precision="32-true",
        max_steps=STEPS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FrozenGuard(), clock],
    )
    with bench.meter.peak() as row:
        began = time.perf_counter()
        run.fit(stage, DataLoader(batches, batch_size=None))
        bench.meter.sync()
        done = time.perf_counter()
    return dict(
        step_s=statistics.median(clock.seconds[1:]),
        first_step_s=clock.seconds[0],
        **row,
        before_first_step_s=clock.began - began,
        after_last_step_s=done - clock.ended,
        **_left(bench, stage, run),
    )


def make_stage(bench: Bench, name: str, scorer: dict[str, Any], again: bool) -> Any:
    from apo_lightning.losses import LOSSES
    from apo_lightning.stages import STAGES

    loss = LOSSES["spd_nll"](reduction="token_mean")
    if name == "apo":
        loss = LOSSES["apo_listwise"](beta=BETA, nll_weight=0.0, reduction="sum")
    own = student(bench, scorer=ScorerSettings(**scorer), gradient_checkpointing=again).make_trainable(bench.seed)
    return STAGES[name](own, loss, OptimSettings(lr=1e-4), steps=STEPS, seed=bench.seed)


def _clock(bench: Bench) -> Any:
    """A callback that notes when steps begin and end."""
    from lightning.pytorch import Callback

    class Clock(Callback):
        seconds: list[float]
        began = ended = 0.0

        def on_train_start(self, *_: Any) -> None:
            self.seconds = []

        def on_train_batch_start(self, *_: Any) -> None:
            bench.meter.sync()
            self.start = time.perf_counter()
            self.began = self.began or self.start

        def on_train_batch_end(self, *_: Any) -> None:
            bench.meter.sync()
            self.ended = time.perf_counter()
            self.seconds.append(self.ended - self.start)

    return Clock()


def _left(bench: Bench, stage: Any, run: Any) -> dict[str, Any]:
    """What a fit leaves behind: a saved adapter and a checkpoint, seconds and MB of each."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, file = Path(scratch) / "student", Path(scratch) / "step.ckpt"
        save = bench.meter.seconds(lambda: stage.student.save(folder))
        keep = bench.meter.seconds(lambda: run.save_checkpoint(file))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return dict(save_s=save, save_mb=size / 1e6, checkpoint_s=keep, checkpoint_mb=file.stat().st_size / 1e6)


def overheads(bench: Bench, add: Add) -> None:
    """The guard over all frozen parameters, modules around the network for another student, what `auto` chooses, and
    reading a model folder for its digest, at the rate of a part of it."""
    from callbacks.frozen_guard import checksums

    size = sum(p.numel() * p.element_size() for p in bench.base.parameters()) / GB
    stage = make_stage(bench, "apo", dict(mode="auto"), False)
    guard = bench.meter.measure(lambda: checksums(stage), bench.repeats)
    add(what="guard, once", gb=size, seconds=guard["median_s"])
    add(what="another student's modules", gb=size, seconds=bench.meter.seconds(lambda: share(bench.base)))
    for prompt in bench.prompts:
        batch, parts = bench.batch(bench.setup(prompt)), Parts.of(stage.student.model)
        with precision.compute(parts.whole, DTYPE):
            mode, rows = choose(parts, batch, None, free_bytes(parts.whole))
        add(what="auto chooses", prompt=prompt, mode=mode, rows=rows, free_gb=free_bytes(parts.whole) / GB)
    digests(bench, add, size)


def digests(bench: Bench, add: Add, size: float) -> None:
    part = 1e7 if bench.tiny else 2e9
    with tempfile.TemporaryDirectory() as scratch:
        folder, memory = Path(scratch) / "model", Path(scratch) / "digests.json"
        folder.mkdir()
        with (folder / "model.safetensors").open("wb") as out:
            for _ in range(10):
                out.write(os.urandom(int(part / 10)))
        first = bench.meter.seconds(lambda: file_digest(folder))
        add(what="digest, read", gb=part / GB, seconds=first, whole_s=first * size * GB / part)
        time.sleep(2.5)  # until then the file's times do not tell it from a later version
        remembered_digest(folder, memory)
        again = bench.meter.seconds(lambda: remembered_digest(folder, memory))
        add(what="digest, remembered", gb=part / GB, seconds=again)


def pipeline(bench: Bench, add: Add) -> None:
    """``apo run smoke`` at full size: collect, SPD, self-distillation, APO, evaluation, report, on a few phantom
    studies. The network is the random one, whose head cannot write what the embedded tokenizer cannot read."""
    from apo_lightning import config as experiments

    with tempfile.TemporaryDirectory() as scratch, without_wandb():
        folder = model_folder(bench, Path(scratch) / "model")
        with torch.no_grad():  # a row of zeros is a logit of zero, and some of the others are above it
            bench.base.lm_head.weight[len(bench.own.tokenizer) :].zero_()
        words = [
            f"student.model={folder}",
            f"student.dtype={DTYPE}",
            f"runs_dir={Path(scratch) / 'runs'}",
            "name=gpu_proof",
            "only=[base,apo_listwise]",
            "data.train=8",
            "data.val=4",
            "data.test=4",
            "stages.spd.steps=3",
            "stages.apo.steps=3",
            "stages.self_distill.max_new_tokens=24",
            "evaluate.max_new_tokens=24",
            "evaluate.likelihood_studies=4",
            "wandb.mode=disabled",
            f"seeds=[{bench.seed}]",
            f"trainer.accelerator={'gpu' if bench.meter.on_gpu else 'cpu'}",
        ]
        cfg = experiments.load(EXPERIMENT, words)
        from apo_lightning.experiment import run

        began = time.perf_counter()
        with patch.object(network, "load_network", lambda *_: share(bench.base)), bench.meter.peak() as row:
            place = run.run(cfg)
        add(what="run", seconds=time.perf_counter() - began, **row)
        for manifest in sorted(Path(scratch, "runs").rglob("manifest.json")):
            told = json.loads(manifest.read_text())
            if "stage" in told:
                add(what=f"stage {told['stage']}", seconds=told.get("seconds"))
        with (place / "results.csv").open(newline="") as file:
            add(what="results", rows=sum(1 for _ in csv.DictReader(file)), report=(place / "report.html").exists())


def model_folder(bench: Bench, folder: Path) -> Path:
    """All of a model but its weights: the embedded student's processor beside the large network's configuration."""
    folder.mkdir(parents=True)
    for file in NANO.iterdir():
        if file.suffix != ".safetensors" and file.name != "config.json":
            shutil.copy(file, folder)
    config(bench.own, tiny=bench.tiny).save_pretrained(folder)
    return folder


@contextmanager
def without_wandb() -> Iterator[None]:
    """Where W&B is not installed, an empty module stands for it: this run logs nothing to it, and names no version."""
    if importlib.util.find_spec("wandb") is not None:
        yield
        return
    empty = types.ModuleType("wandb")
    empty.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    others = tuple(name for name in run_folder.PACKAGES if name != "wandb")
    with patch.dict(sys.modules, wandb=empty), patch.object(run_folder, "PACKAGES", others):
        yield
