"""What every callback promises that says of itself that it observes: training comes to the same with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from torch import Tensor
from torch.utils.data import DataLoader

from apo_lightning.experiment import observing
from apo_lightning.experiment.jsonl_logger import JsonlLogger
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.losses import LOSSES
from apo_lightning.phantom.world import FINDINGS
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.apo import APO
from apo_lightning.types import PREFERRED, Example, Study
from callbacks import CALLBACKS
from tests.helpers import tiny

STEPS = 4
SETTINGS: dict[str, dict[str, Any]] = {
    "sample_table": {"every": 2, "studies": 2, "max_new_tokens": 4},
    "failure_signatures": {"window": 2},
}
"""So that a callback has something to do in so short a training."""
OBSERVING = sorted(name for name in CALLBACKS if not observing.interfering({name: SETTINGS.get(name, {})}))


class Data(LightningDataModule):
    findings = FINDINGS

    def examples(self) -> list[tuple[Example, list[Any]]]:
        texts = ("No edema.", "Edema.")
        return [tiny.item(i, {PREFERRED: tiny.truth(i), **{f"t{u}": t for u, t in enumerate(texts)}}) for i in range(4)]

    def studies(self, split: str) -> list[Study]:
        return [tiny.study(case) for case, _ in tiny.drawn()] if split == "val" else []

    def images(self, study: Study) -> list[Any]:
        return [next(image for case, image in tiny.drawn() if case.id == study.id)]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.examples() * STEPS, batch_size=2, collate_fn=tiny.collator())


def fit(folder: Path, *watching: Callback) -> tuple[APO, list[dict[str, Any]], Tensor]:
    """The trained stage, its metrics, and the state of the random generator behind it."""
    folder.mkdir()
    student = tiny.student(dropout=0.2).make_trainable(seed=0)
    loss = LOSSES["apo_listwise"](beta=0.5, nll_weight=0.1, reduction="sum")
    stage = APO(student, loss, OptimSettings(lr=1e-3), steps=STEPS, seed=0)
    Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        logger=JsonlLogger(folder),
        log_every_n_steps=1,
        callbacks=list(watching),
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(each, ProgressBar) for each in watching),
        enable_checkpointing=False,
    ).fit(stage, datamodule=Data())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return stage, [row for row in rows if "train/loss" in row], torch.get_rng_state()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[APO, list[dict[str, Any]], Tensor]:
    return fit(tmp_path_factory.mktemp("alone") / "run")


@pytest.mark.parametrize("name", OBSERVING)
def test_training_comes_to_the_same_bit_for_bit(
    tmp_path: Path, alone: tuple[APO, list[dict[str, Any]], Tensor], name: str
) -> None:
    [watch] = observing.build({name: SETTINGS.get(name, {})}, StageFolder(tmp_path, "run", {}))
    stage, rows, random = fit(tmp_path / "run", watch)
    plain, expected, before = alone
    trained = {key: value for key, value in plain.named_parameters() if value.requires_grad}
    assert trained and all(
        torch.equal(value, trained[key]) for key, value in stage.named_parameters() if key in trained
    )
    assert [{key: row[key] for key in other} for row, other in zip(rows, expected, strict=True)] == expected
    assert torch.equal(random, before)
    assert stage.student.counts == plain.student.counts
    modes = [module.training for module in stage.modules()]
    assert modes == [module.training for module in plain.modules()]
    torch.save(watch.state_dict(), tmp_path / "state.pt")  # a checkpoint is read with weights_only
    watch.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
