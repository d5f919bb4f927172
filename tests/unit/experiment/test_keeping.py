"""What a stage hands on: the last weights, or those that were best on the validation split, also after a kill.

The planted case: a weight that training drives up by .1 a step, while the validation loss is (w - .43)^2. Step 4 is
best; whoever goes on to step 12 hands on a weight that is far worse.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, StochasticWeightAveraging
from torch.utils.data import DataLoader

from apo_lightning.errors import ConfigError, StoppedError
from apo_lightning.experiment import trainer
from apo_lightning.settings import FitSettings, OptimSettings, TrainerSettings

STEPS, BEST = 12, 0.43


class Drifting(LightningModule):
    name = "spd"

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[int] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.log("train/loss", -self.w)
        return -self.w

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append(self.trainer.global_step)
        self.log("val/loss", (self.w - BEST) ** 2)
        self.log("val/reward_accuracy", -((self.w - BEST) ** 2))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Data(LightningDataModule):
    """As many batches as are left."""

    def train_dataloader(self) -> DataLoader:
        done = self.trainer.fit_loop.epoch_loop.batch_progress.total.processed
        return DataLoader(torch.zeros(STEPS * 2 - done), batch_size=1)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(torch.zeros(2), batch_size=1)


class Dies(Callback):
    """At the first chance after a step: before or behind the validation that follows it."""

    def __init__(self, step: int, hook: str) -> None:
        setattr(self, hook, lambda own, *rest: self.die(own.global_step, step))

    def die(self, now: int, step: int) -> None:
        if now == step:
            raise KeyError("a kill")


def plan(**own: Any) -> FitSettings:
    settings = {"steps": STEPS, "batch_studies": 1, "checkpoint_every": 2, "loss": {}, **own}
    return FitSettings(**settings, optim=OptimSettings(lr=0.1))


def fit(
    folder: Path, *callbacks: Callback, trainer_: dict[str, Any] | None = None, **own: Any
) -> tuple[Drifting, dict[str, Any]]:
    settings, stage = TrainerSettings(accelerator="cpu", **(trainer_ or {})), Drifting()
    folder.mkdir(exist_ok=True)
    return stage, trainer.fit(stage, Data(), settings, plan(**own), folder, callbacks, [])


def test_the_last_weights_are_handed_on_and_nothing_is_validated(tmp_path: Path) -> None:
    stage, told = fit(tmp_path / "a")
    assert stage.w.item() == pytest.approx(1.2)
    assert told == {} and stage.seen == []


@pytest.mark.parametrize("monitor", ["val/loss", "val/reward_accuracy"])
def test_the_best_weights_are_handed_on(tmp_path: Path, monitor: str) -> None:
    stage, told = fit(tmp_path / "a", keep="best", monitor=monitor)
    assert stage.w.item() == pytest.approx(0.4)
    assert told["kept"]["step"] == 4 and abs(told["kept"][monitor]) == pytest.approx(0.0009, abs=1e-6)
    assert stage.seen == [step for step in (2, 4, 6, 8, 10, 12) for _ in range(2)]


def test_the_last_step_is_validated_too(tmp_path: Path) -> None:
    stage, told = fit(tmp_path / "a", keep="best", steps=5, checkpoint_every=50)
    assert told["kept"]["step"] == 5 and stage.seen == [5, 5]


def test_early_stopping_ends_a_stage_and_the_best_is_handed_on(tmp_path: Path) -> None:
    """Validated at 2, 4 (best), 6, 8: two in a row are worse."""
    stage, told = fit(tmp_path / "a", EarlyStopping("val/loss", patience=2), keep="best")
    assert told["stopped"] == 8 and told["kept"]["step"] == 4
    assert stage.w.item() == pytest.approx(0.4)
    stage, told = fit(tmp_path / "b", EarlyStopping("val/loss", patience=2))
    assert told == {"stopped": 8} and stage.w.item() == pytest.approx(0.8)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_start", "on_validation_end"])
@pytest.mark.parametrize("step", [4, 6, 8])
def test_a_kill_changes_neither_what_is_kept_nor_when_it_stops(tmp_path: Path, step: int, hook: str) -> None:
    with pytest.raises(KeyError):
        fit(tmp_path / "a", EarlyStopping("val/loss", patience=2), Dies(step, hook), keep="best")
    stage, told = fit(tmp_path / "a", EarlyStopping("val/loss", patience=2), keep="best")
    assert told["stopped"] == 8 and told["kept"]["step"] == 4
    assert stage.w.item() == pytest.approx(0.4)
    rows = [json.loads(line) for line in (tmp_path / "a/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 9))
    assert [row["step"] for row in rows if "val/loss" in row] == [2, 4, 6, 8]


def test_a_fit_that_was_killed_behind_its_last_step_hands_on_the_best(tmp_path: Path) -> None:
    class Kills(Callback):
        def on_train_end(self, *args: Any) -> None:
            raise KeyError("a kill")

    with pytest.raises(KeyError):
        fit(tmp_path / "a", Kills(), keep="best")
    stage, told = fit(tmp_path / "a", keep="best")
    assert told["kept"]["step"] == 4 and stage.w.item() == pytest.approx(0.4)


def test_a_folder_that_was_moved_keeps_its_best(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(KeyError):
        fit(tmp_path / "one/a", Dies(8, "on_validation_start"), keep="best")
    (tmp_path / "one").rename(tmp_path / "two")
    stage, told = fit(tmp_path / "two/a", keep="best")
    assert told["kept"]["step"] == 4 and stage.w.item() == pytest.approx(0.4)


def test_batches_between_validations_are_lightnings_to_say(tmp_path: Path) -> None:
    stage, told = fit(tmp_path / "a", trainer_={"val_check_interval": 5, "limit_val_batches": 1})
    assert stage.seen == [5, 10, 12] and told == {}
    stage, _ = fit(tmp_path / "b", trainer_={"val_check_interval": 3}, accumulate=2, steps=6)
    assert stage.seen == [step for step in (1, 3, 4, 6) for _ in range(2)]


def test_averages_of_lightning_are_handed_on(tmp_path: Path) -> None:
    """Epochs of 3 of 12 steps, averaged at the start of the second to the fourth; and .1, then halfway to .2."""
    callback = StochasticWeightAveraging(swa_lrs=0.1, swa_epoch_start=2, annealing_epochs=1)
    stage, _ = fit(tmp_path / "a", callback, trainer_={"limit_train_batches": 3})
    assert stage.w.item() == pytest.approx((0.3 + 0.6 + 0.9) / 3)
    stage, _ = fit(tmp_path / "b", EMAWeightAveraging(decay=0.5), steps=2)
    assert stage.w.item() == pytest.approx(0.15)


def test_a_metric_that_nobody_measures_is_a_sentence(tmp_path: Path) -> None:
    said = r"stages\.spd\.monitor 'val/los' is not measured by this stage\. Did you mean 'val/loss'\? Known: val/loss, "
    with pytest.raises(ConfigError, match=said):
        fit(tmp_path / "a", keep="best", monitor="val/los", mode="min")
    with pytest.raises(ConfigError, match=r"callbacks\.EarlyStopping\.monitor 'val/x' is not measured"):
        fit(tmp_path / "b", EarlyStopping("val/x"))


def test_a_stage_that_cannot_be_validated_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drifting, "validation_step", LightningModule.validation_step)
    with pytest.raises(ConfigError, match=r"stages\.spd\.keep.* has no validation_step"):
        fit(tmp_path / "a", keep="best")


def test_a_fast_dev_run_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match=r"fast_dev_run=2: stage spd went through its batches .*nothing of it is st"):
        fit(tmp_path / "a", trainer_={"fast_dev_run": 2}, keep="best")
    assert not (tmp_path / "a/checkpoints").exists()


def test_the_profilers_table_lies_in_the_folder(tmp_path: Path) -> None:
    fit(tmp_path / "a", trainer_={"profiler": "simple"}, steps=2)
    assert "run_training_batch" in (tmp_path / "a/fit-profile.txt").read_text()


@pytest.mark.parametrize(
    ("own", "callbacks", "expected"),
    [
        ({}, {}, False),
        ({"keep": "best"}, {}, True),
        ({}, {"EarlyStopping": {"monitor": "val/loss"}}, True),
        ({}, {"LearningRateMonitor": {}}, False),
    ],
)
def test_who_asks_for_validation(own: dict[str, Any], callbacks: dict[str, Any], expected: bool) -> None:
    assert trainer.validates(TrainerSettings(), plan(**own), callbacks) is expected
    assert trainer.validates(TrainerSettings(val_check_interval=4), plan(**own), callbacks)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"monitor": "train/loss"}, "monitor must be a metric of the validation split"),
        ({"keep": "best", "monitor": "val/odd"}, "mode must be min or max, since the name of monitor, 'val/odd'"),
    ],
)
def test_what_cannot_be_kept(own: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan(**own)


@pytest.mark.parametrize(
    ("monitor", "mode", "expected"),
    [
        ("val/loss", None, "min"),
        ("val/margin", None, "max"),
        ("val/logp/gpt5", None, "max"),
        ("val/reward_accuracy", None, "max"),
        ("val/odd", "max", "max"),
        ("val/loss", "max", "max"),
    ],
)
def test_which_way_is_better(monitor: str, mode: Any, expected: str) -> None:
    assert plan(keep="best", monitor=monitor, mode=mode).direction() == expected
