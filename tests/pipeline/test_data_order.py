"""The same seed shows the same studies, with the same disturbances, in the same order.

However many workers load, after a resume in the middle of a pass, and over one process or two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image

from apo_lightning.errors import ConfigError
from apo_lightning.types import Example, Study
from data_modules.base import CXRDataModule

BATCHES = 7
"""Of 4 studies each out of 11: two batches a pass, so the fourth pass is reached."""


@dataclass(eq=False, kw_only=True)
class Ramps(CXRDataModule):
    """11 drawn images that differ, disturbed while training."""

    augment: str = "mild"
    on_disk = False

    def read_studies(self, split: str) -> Sequence[Study]:
        return [Study(f"{split}{i}", f"{split}{i}", split, (str(i),), {}) for i in range(11)]

    def open_images(self, study: Study) -> list[Image.Image]:
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
        return [Image.fromarray(np.roll(ramp, 3 * int(study.images[0]), axis=0))]


def collate(items) -> list[tuple[str, str]]:
    return [(e.study.id, hashlib.sha256(image.tobytes()).hexdigest()[:8]) for e, (image,) in items]


class Placed(Ramps):
    """As one process of several sees it, without starting them."""

    def at(self, *, rank: int, world: int, trained: int) -> Placed:
        self._place = lambda: (rank, world)
        self._batches_trained = lambda: trained
        return self

    def __getstate__(self) -> dict:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_place", "_batches_trained")}


def seen(*, workers: int = 0, seed: int = 3, rank: int = 0, world: int = 1, trained: int = 0) -> list:
    data = Placed(num_workers=workers).at(rank=rank, world=world, trained=trained)
    examples = [Example(study) for study in data.studies("train")]
    data.connect(collate=collate, batch_studies=4 // world, seed=seed, train=examples, steps=BATCHES)
    return list(islice(data.train_dataloader(), BATCHES - trained))


@pytest.fixture(scope="module")
def alone() -> list:
    return seen()


def test_passes_differ_in_order_and_in_disturbance(alone):
    """Guards the other tests: a constant stream would pass them all."""
    pixels = {}
    for study, mark in (item for batch in alone for item in batch):
        pixels.setdefault(study, []).append(mark)
    assert any(len(set(marks)) > 1 for marks in pixels.values()), "every pass disturbs anew"
    assert [s for s, _ in alone[0] + alone[1]] != [s for s, _ in alone[2] + alone[3]]


@pytest.mark.filterwarnings("ignore:.*suggested max number of worker")
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_nothing(alone, workers):
    assert seen(workers=workers) == alone


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resume_in_the_middle_of_a_pass_goes_on(alone, workers):
    assert seen(trained=3, workers=workers) == alone[3:]


def test_another_seed_is_another_order_and_another_disturbance(alone):
    other = seen(seed=4)
    assert [[s for s, _ in batch] for batch in other] != [[s for s, _ in batch] for batch in alone]
    assert not {mark for batch in other for _, mark in batch} & {mark for batch in alone for _, mark in batch}


def test_validation_and_prediction_are_never_disturbed():
    data = Placed().at(rank=0, world=1, trained=0)
    examples = [Example(study) for study in data.studies("val")]
    data.connect(collate=collate, batch_studies=4, seed=3, val=examples, test=examples, predict=examples)
    before = torch.get_rng_state()
    said = [tuple(item) for _, batch in data.predict_dataloader() for item in batch]
    assert said == collate([(e, data.open_images(e.study)) for e in examples])
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert [tuple(item) for batch in loader for item in batch] == said
    assert torch.equal(torch.get_rng_state(), before), "nothing is drawn from the global stream"


def test_a_trainer_that_would_share_out_twice_is_refused():
    data = Ramps()
    data.connect(collate=collate, batch_studies=4, seed=3, val=[Example(study) for study in data.studies("val")])
    data.trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp_spawn", logger=False, enable_checkpointing=False)
    with pytest.raises(ConfigError, match="Pass use_distributed_sampler=False"):
        data.val_dataloader()


class Witness(LightningModule):
    """Writes what its process is shown."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder, self.weight = folder, torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch: list, index: int) -> torch.Tensor:
        with (Path(self.folder) / f"rank{self.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(batch) + "\n")
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_two_processes_together_see_what_one_sees(tmp_path, alone):
    data = Ramps(num_workers=2)
    examples = [Example(study) for study in data.studies("train")]
    data.connect(collate=collate, batch_studies=2, seed=3, train=examples, steps=BATCHES)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_spawn",
        max_steps=BATCHES,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Witness(str(tmp_path)), data)
    ranks = [[json.loads(line) for line in (tmp_path / f"rank{r}.jsonl").open()] for r in range(2)]
    together = [[tuple(item) for item in left + right] for left, right in zip(*ranks, strict=True)]
    assert together == alone
