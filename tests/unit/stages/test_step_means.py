"""What is logged of a step does not depend on how its studies are cut into micro-batches, nor on what was before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import distributed as dist
from torch.utils.data import DataLoader

from apo_lightning.experiment.jsonl_logger import JsonlLogger
from apo_lightning.losses import LOSSES
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.apo import APO
from apo_lightning.stages.step_means import StepMeans
from apo_lightning.types import PREFERRED
from callbacks.preference_monitor import PreferenceMonitor
from tests.helpers import tiny

TEXTS = ("No edema.", "Edema.", "Effusion: yes.")
TEACHERS = (0, 1, 3, 2, 1, 2, 0, 1)
"""How many teachers each study has."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two that spin beside a busy machine take minutes for what is half a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_means_are_weighted_by_hand() -> None:
    """Means 1 of three and 5 of one: 8 / 4. One that is of nothing counts for nothing; nothing at all is 0."""
    means = StepMeans()
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(0.0)}, {"a": 3, "b": 0})
    means.add({"a": torch.tensor(5.0), "c": 7.0}, {"a": torch.tensor(1), "c": 2})
    assert means.take() == {"a": 2.0, "b": 0.0, "c": 7.0}
    assert means.take() == {}


def test_processes_may_know_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(parts: list, own: dict) -> None:
        parts[:] = [own, {"a": [9.0, 1.0], "b": [4.0, 2.0]}]

    monkeypatch.setattr(dist, "all_gather_object", gather)
    means = StepMeans()
    means.add({"a": 1.0, "c": 3.0}, {"a": 1, "c": 1})
    assert means.take(2) == {"a": 5.0, "b": 2.0, "c": 3.0}


def logged(folder: Path, studies_a_batch: int) -> list[dict]:
    """Rows of two steps of four studies each, with 0 to 3 teachers; t2 is silent in the second step."""
    folder.mkdir()
    rows = [{PREFERRED: tiny.truth(i), **{f"t{u}": TEXTS[u] for u in range(n)}} for i, n in enumerate(TEACHERS)]
    cuts = range(0, len(rows), studies_a_batch)
    batches = [tiny.collator()([tiny.item(i, rows[i]) for i in range(c, c + studies_a_batch)]) for c in cuts]
    student = tiny.student().make_trainable(seed=0)
    moved = torch.Generator().manual_seed(0)
    for name, parameter in student.named_parameters():
        if "lora_B" in name:  # away from where all rewards are 0
            torch.nn.init.normal_(parameter.data, std=0.05, generator=moved)
    loss = LOSSES["apo_listwise"](beta=0.5, nll_weight=0.1, reduction="sum")
    stage = APO(student, loss, OptimSettings(lr=1e-4), steps=2, seed=0)
    Trainer(
        accelerator="cpu",
        max_steps=2,
        accumulate_grad_batches=4 // studies_a_batch,
        logger=JsonlLogger(folder),
        callbacks=[PreferenceMonitor()],
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(stage, DataLoader(batches, batch_size=None))
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_one_batch_of_four_and_four_of_one_log_the_same(tmp_path: Path) -> None:
    whole, split = (logged(tmp_path / str(size), size) for size in (4, 1))
    assert [row["step"] for row in split] == [1, 2]
    for one, other in zip(whole, split, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            assert other[key] == (one[key] if one[key] is None else pytest.approx(one[key], rel=1e-3, abs=1e-4)), key
    assert {"train/loss", "train/margin", "train/logp_rejected", "train/logp_rejected/t2"} <= set(whole[0])
    assert {"train/reward/t0", "train/margin/t1", "train/rank1_accuracy", "train/rank1_chance"} <= set(whole[0])
    assert whole[0]["train/rank1_chance"] == pytest.approx(
        (1 / 2 + 1 / 4 + 1 / 3) / 3
    )  # 1, 3 and 2 teachers; 0 has none
    assert whole[0]["train/margin"] != 0
    assert whole[1]["train/logp_rejected/t2"] is None  # not that of the step before
