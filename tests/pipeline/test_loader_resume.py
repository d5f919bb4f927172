"""Killed in the middle of an epoch and resumed: the same studies at the same steps, and the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from PIL import Image

from apo_lightning.errors import ArtifactError, DataError
from apo_lightning.types import Example, Study
from data_modules.base import CXRDataModule

STEPS = 13


@dataclass(eq=False, kw_only=True)
class Dots(CXRDataModule):
    """11 one-pixel images whose grey is their number; batches of 2 make passes of 5, so 13 steps reach the third."""

    on_disk = False
    opened: list[str] = field(default_factory=list)

    def read_studies(self, split: str) -> Sequence[Study]:
        return [Study(f"s{i}", f"p{i}", split, (str(i),), {}) for i in range(11)]

    def open_images(self, study: Study) -> list[Image.Image]:
        self.opened.append(study.id)
        return [Image.new("L", (1, 1), int(study.images[0]))]


def collate(items) -> dict:
    values = [float(image.getpixel((0, 0))) for _, (image,) in items]
    return {"ids": [example.study.id for example, _ in items], "x": torch.tensor(values)}


class Recorder(LightningModule):
    """One weight that every study moves, so that a different order or number of studies ends elsewhere."""

    def __init__(self, accumulate: int = 1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.seen: list[list[str]] = []
        self.answers: list[tuple[int, list[str]]] = []

    def training_step(self, batch: dict, index: int) -> torch.Tensor:
        self.seen.append(batch["ids"])
        return ((batch["x"][:, None] * self.weight).sin() * self.weight).sum()

    def predict_step(self, batch, index: int) -> None:
        self.answers.append((batch[0], batch[1]["ids"]))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ByHand(Recorder):
    """The same under manual optimisation, which counts its own accumulation."""

    def __init__(self, accumulate: int = 1) -> None:
        super().__init__()
        self.automatic_optimization, self.accumulate = False, accumulate

    def training_step(self, batch: dict, index: int) -> None:
        (super().training_step(batch, index) / self.accumulate).backward()
        if (index + 1) % self.accumulate == 0:
            self.optimizers().step()
            self.optimizers().zero_grad()
            self.lr_schedulers().step()


class Kill(Callback):
    """Dies in the training step of one batch, before its optimiser step."""

    def __init__(self, batch: int | None) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.batch:
            raise RuntimeError("killed")


def fit(
    folder: Path,
    *,
    kind: type[Recorder] = Recorder,
    workers: int = 0,
    accumulate: int = 1,
    every: int = 4,
    kill: int | None = None,
    resume: bool = False,
    seed: int = 5,
    steps: int | None = STEPS,
) -> tuple[Recorder, Trainer]:
    """A run as the project's own makes it; every checkpoint it saved stays in ``folder``."""
    data, model = Dots(num_workers=workers), kind(accumulate)
    examples = [Example(study) for study in data.studies("train")]
    data.connect(collate=collate, batch_studies=2, seed=seed, train=examples, steps=steps, accumulate=accumulate)
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=every, save_top_k=-1, save_last=True)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        use_distributed_sampler=False,
        logger=False,
        callbacks=[saver, Kill(kill)],
        accumulate_grad_batches=accumulate if model.automatic_optimization else 1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    last = str(folder / "last.ckpt") if resume else None
    if kill is None:
        trainer.fit(model, data, ckpt_path=last, weights_only=False)
    else:
        with pytest.raises(RuntimeError, match="killed"):
            trainer.fit(model, data, ckpt_path=last, weights_only=False)
    return model, trainer


@pytest.mark.parametrize("kind", [Recorder, ByHand])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("every", "workers"), [(1, 0), (4, 0), (4, 2)])
def test_resumed_run_sees_what_the_undisturbed_one_sees(tmp_path, kind, accumulate, every, workers):
    """Killed in step 6 (after 5 steps), saved at step 4 or 5; then killed again two steps later; then to the end."""
    how = {"kind": kind, "workers": workers, "accumulate": accumulate, "every": every}
    whole, _ = fit(tmp_path / "whole", **how)
    assert len(whole.seen) == STEPS * accumulate

    folder = tmp_path / "cut"
    first, _ = fit(folder, kill=5 * accumulate, **how)
    saved = accumulate * (5 if every == 1 else 4)
    second, _ = fit(folder, kill=7 * accumulate, resume=True, **how)
    third, trainer = fit(folder, resume=True, **how)
    again = accumulate * (7 if every == 1 else 4)
    assert first.seen == whole.seen[: 5 * accumulate]
    assert second.seen == whole.seen[saved : 7 * accumulate]
    assert third.seen == whole.seen[again:]
    assert torch.equal(third.weight, whole.weight)
    assert trainer.global_step == STEPS
    assert trainer.current_epoch <= 1


def test_passes_differ_and_see_each_study_once(tmp_path):
    """13 steps of 2 from 11 studies: passes of 5 batches, ten different studies in each."""
    model, _ = fit(tmp_path)
    passes = [[name for batch in model.seen[i : i + 5] for name in batch] for i in (0, 5)]
    assert [len(set(names)) for names in passes] == [10, 10]
    assert passes[0] != passes[1]


@pytest.mark.parametrize("kind", [Recorder, ByHand])
def test_checkpoint_in_the_middle_of_an_accumulation_repeats_its_step(tmp_path, kind):
    """Resumed from step 4 of 3 batches each, Lightning saves again after batch 13: one third of a step."""
    whole, undisturbed = fit(tmp_path / "whole", kind=kind, accumulate=3)
    fit(tmp_path / "cut", kind=kind, accumulate=3, kill=12)
    fit(tmp_path / "cut", kind=kind, accumulate=3, kill=14, resume=True)
    state = torch.load(tmp_path / "cut" / "last.ckpt", weights_only=False)
    assert state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"] == 13, "no such checkpoint"
    last, trainer = fit(tmp_path / "cut", kind=kind, accumulate=3, resume=True)
    assert last.seen == whole.seen[12:]
    assert torch.equal(last.weight, whole.weight)
    loops = trainer.fit_loop.epoch_loop, undisturbed.fit_loop.epoch_loop
    assert loops[0]._batches_that_stepped == loops[1]._batches_that_stepped, "the step that loggers write"


@pytest.mark.parametrize("kill", [5, 7, 9, 10, 11])
def test_without_a_length_an_epoch_is_a_pass_and_the_stream_is_the_same(tmp_path, kill):
    """Passes of 5 batches: killed in the second pass and in the third, at the first batch of a pass and at its last."""
    whole, _ = fit(tmp_path / "whole")
    passes, trainer = fit(tmp_path / "passes", steps=None)
    assert passes.seen == whole.seen and trainer.current_epoch == 3
    fit(tmp_path / "cut", kill=kill, steps=None)
    rest, _ = fit(tmp_path / "cut", resume=True, steps=None)
    assert rest.seen == whole.seen[4 if kill < 8 else 8 :]
    assert torch.equal(rest.weight, whole.weight)


def test_a_step_at_the_end_of_a_pass_is_whole(tmp_path):
    """Passes of 5 batches, 3 a step: Lightning steps after batches 3, 5, 8 and 10, a resume begins behind one."""
    whole, _ = fit(tmp_path / "whole", accumulate=3, steps=None, every=1)
    assert len(whole.seen) == 33
    for kill, start in ((6, 5), (9, 8), (10, 10)):
        folder = tmp_path / str(kill)
        fit(folder, accumulate=3, steps=None, every=1, kill=kill)
        rest, _ = fit(folder, accumulate=3, steps=None, every=1, resume=True)
        assert rest.seen == whole.seen[start:]
        assert torch.equal(rest.weight, whole.weight)


def test_more_steps_than_the_stream_announced_go_on_with_it(tmp_path):
    """steps=5, Trainer(max_steps=13): Lightning counts three epochs, the studies are those of one long run."""
    whole, _ = fit(tmp_path / "whole")
    short, _ = fit(tmp_path / "short", steps=5)
    assert short.seen == whole.seen
    fit(tmp_path / "cut", steps=5, kill=2)
    assert not (tmp_path / "cut" / "last.ckpt").exists()


def test_checkpoint_of_another_order_is_refused(tmp_path):
    fit(tmp_path, kill=5)
    with pytest.raises(ArtifactError, match="seed was 5, is 6"):
        fit(tmp_path, resume=True, seed=6)


def test_the_global_random_stream_is_left_alone(tmp_path):
    """A loader that draws its worker seed from the global stream would shift dropout after a resume."""
    data = Dots()
    data.connect(collate=collate, batch_studies=2, seed=0, train=[Example(s) for s in data.studies("train")])
    before = torch.get_rng_state()
    next(iter(data.train_dataloader()))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupted_prediction_keeps_its_batches(tmp_path, workers):
    data, model = Dots(num_workers=workers), Recorder()
    examples = [Example(study) for study in data.studies("test")]
    trainer = Trainer(
        accelerator="cpu",
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    data.connect(collate=collate, batch_studies=4, seed=0, predict=examples)
    trainer.predict(model, data, return_predictions=False)
    whole = model.answers
    assert whole == [(0, ["s0", "s1", "s2", "s3"]), (1, ["s4", "s5", "s6", "s7"]), (2, ["s8", "s9", "s10"])]
    model.answers = []
    data.connect(collate=collate, batch_studies=4, seed=0, predict=examples, skip_batches=frozenset({0, 2}))
    trainer.predict(model, data, return_predictions=False)
    assert model.answers == whole[1:2]


def test_images_are_opened_once_while_the_cache_is_on():
    for cache, times in ((True, 1), (False, 2)):
        data = Dots(cache=cache)
        study = data.studies("train")[0]
        assert data.images(study)[0].getpixel((0, 0)) == data.images(study)[0].getpixel((0, 0))
        assert data.opened == ["s0"] * times


def test_nothing_connected_is_an_error():
    with pytest.raises(DataError, match="nothing to train on"):
        Dots().train_dataloader()
