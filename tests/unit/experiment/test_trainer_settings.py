"""``trainer:`` and ``callbacks:`` speak as Lightning does: its names, its types, and a reason where one is refused."""

from __future__ import annotations

import inspect
from pathlib import Path

import lightning.pytorch.callbacks as theirs
import pytest
import torch
from lightning.pytorch import Trainer

from apo_lightning import config
from apo_lightning.cli import commands
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import observing
from apo_lightning.experiment.cache_keys import of_trainer
from apo_lightning.settings import TrainerSettings
from callbacks import CALLBACKS

SMOKE = Path(__file__).resolve().parents[3] / "experiments/smoke.yaml"
RENAMED = {"nodes", "log_every"}
OF_STRATEGIES = {"cpu_offload"}
"""Arguments of Lightning's strategies, which a file names as words."""
FIVE = {"accelerator": "auto", "devices": 1, "num_nodes": 1, "strategy": "single", "precision": "32-true"}


def complaint(*words: str) -> str:
    with pytest.raises(ConfigError) as error:
        config.load(SMOKE, words)
    return str(error.value)


def test_every_argument_of_lightnings_trainer_is_taken_or_refused_with_a_reason() -> None:
    known = set(inspect.signature(Trainer).parameters)
    taken, refused = set(vars(TrainerSettings())), set(TrainerSettings.elsewhere)
    assert taken | refused == known | RENAMED | OF_STRATEGIES and not taken & refused
    assert set(TrainerSettings.looks) | set(TrainerSettings.fits) < taken


@pytest.mark.parametrize("name", sorted(TrainerSettings.elsewhere))
def test_a_refused_one_says_where_its_meaning_is_said(name: str) -> None:
    said = complaint(f"trainer.{name}=3")
    assert said == f"trainer.{name} is not set here (command line). {TrainerSettings.elsewhere[name]}."


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("trainer.val_chek_interval=3", "Unknown key 'trainer.val_chek_interval' (command line). Did you mean 'val_ch"),
        ("trainer.val_check_interval=often", "must be an integer or a number or null, got 'often' (command line)."),
        ("trainer.val_check_interval=2.5", "must be a whole number of batches or a share in [0, 1], got 2.5"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches must be > 0, got 0"),
        ("trainer.fast_dev_run=-1", "trainer.fast_dev_run must be >= 0, got -1"),
        ("trainer.profiler=quick", "trainer.profiler must be one of simple, advanced, pytorch, or null, got 'quick'"),
        ("trainer.deterministic=maybe", "trainer.deterministic must be one of True, False, warn, or null, got 'maybe'"),
        ("trainer.num_nodes=0", "trainer.num_nodes must be > 0, got 0"),
        (
            "callbacks.EarlyStoping.monitor=val/loss",
            "No callback is named 'EarlyStoping' (command line). Did you mean ",
        ),
        ("callbacks.EarlyStopping.patience=2", "callbacks.EarlyStopping.monitor must be given"),
        (
            "callbacks.EarlyStopping={monitor: val/loss, patience: few}",
            "patience must be an integer, got",
        ),
        ("callbacks.EarlyStopping={monitor: val/loss, patiense: 2}", "Did you mean 'patience'?"),
        ("callbacks.EarlyStopping={monitor: val/loss, mode: up}", "callbacks.EarlyStopping.mode"),
        (
            "callbacks.EarlyStopping={monitor: train/loss}",
            "of the validation split, got 'train/loss'",
        ),
        ("callbacks.LearningRateMonitor.logging_interval=day", "must be one of step, epoch or null, got 'day'"),
        ("callbacks.ThroughputMonitor.batch_size_fn=len", "Unknown key 'callbacks.ThroughputMonitor.batch_size_fn'"),
        ("callbacks.StochasticWeightAveraging={swa_lrs: 0.1, swa_epoch_start: 2}", "counts epochs, and a stage is one"),
        (
            "callbacks.metrics_jsonl={}",
            "No callback is named 'metrics_jsonl' (command line). metrics.jsonl is",
        ),
        ("callbacks.trajectory_writer={}", "What a student writes is always filed: leave the callback out."),
        ("callbacks.ModelCheckpoint={}", "stages.<stage>.checkpoint_every says how often"),
        ("callbacks.Timer={}", "would make the result of a stage depend on the machine"),
        ("stages.spd.keep=first", "stages.spd.keep must be one of last, best, got 'first' (command line)."),
    ],
)
def test_a_mistake_is_a_sentence(word: str, said: str) -> None:
    assert said in complaint(word)


def test_swa_needs_epochs_an_end_of_its_own_and_whole_weights() -> None:
    swa = "callbacks.StochasticWeightAveraging={swa_lrs: [0.1], swa_epoch_start: 2}"
    epochs = "trainer.limit_train_batches=4"
    assert config.load(SMOKE, [swa, epochs]).callbacks["StochasticWeightAveraging"]["swa_lrs"] == [0.1]
    assert "stages.spd.keep must be last" in complaint(swa, epochs, "stages.spd.keep=best")
    assert "fsdp2 takes them apart" in complaint(swa, epochs, "trainer.strategy=fsdp2")
    assert "must be a whole epoch" in complaint(swa.replace(", swa_epoch_start: 2", ""), epochs)


def test_every_callback_of_lightning_is_taken_or_refused_with_a_reason() -> None:
    for name in theirs.__all__:
        assert (CALLBACKS.get(name) is getattr(theirs, name)) != (name in CALLBACKS.elsewhere), name


def test_those_that_look_are_no_part_of_a_stage() -> None:
    looking = {name: {} for name in ("DeviceStatsMonitor", "LearningRateMonitor", "ThroughputMonitor", "ModelSummary")}
    stopping = {"EarlyStopping": {"monitor": "val/loss"}}
    assert observing.interfering({**looking, **stopping}) == stopping


def test_settings_of_lightnings_callbacks_are_filled_in_for_the_record() -> None:
    words = ["callbacks.EMAWeightAveraging.decay=0.9", "callbacks.RichProgressBar={}"]
    own = config.to_dict(config.load(SMOKE, words))["callbacks"]
    assert own["EMAWeightAveraging"] == {
        "decay": 0.9,
        "device": None,
        "use_buffers": True,
        "update_every_n_steps": 1,
        "update_starting_at_step": None,
        "update_starting_at_epoch": None,
    }
    assert own["RichProgressBar"] == {"refresh_rate": 100, "leave": False, "console_kwargs": None}


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, {}),
        ({"num_nodes": 2, "devices": 4, "strategy": "fsdp2", "cpu_offload": True}, {}),
        ({"log_every_n_steps": 5, "profiler": "simple", "enable_model_summary": True, "detect_anomaly": True}, {}),
        ({"val_check_interval": 5, "limit_val_batches": 2}, {"val_check_interval": 5, "limit_val_batches": 2}),
        ({"limit_train_batches": 5, "deterministic": True}, {"limit_train_batches": 5, "deterministic": True}),
    ],
)
def test_what_changes_no_number_is_no_part_of_a_key(given: dict, more: dict) -> None:
    assert of_trainer(TrainerSettings(**given)) == {**FIVE, **more}
    unused = of_trainer(TrainerSettings(**given), *TrainerSettings.fits)
    assert unused == {**FIVE, **{key: value for key, value in more.items() if key in (*FIVE, "deterministic")}}


def test_a_list_names_them_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    commands.main(["list"])
    named = capsys.readouterr().out.split("of Lightning:")[1].split("\n\n")[0]
    assert "EarlyStopping" in named and "ThroughputMonitor" in named


@pytest.mark.parametrize(
    ("here", "same", "other"), [(None, ["auto", "cpu"], []), ("cuda", ["auto", "gpu", "cuda"], ["cpu"])]
)
def test_a_stage_does_not_depend_on_how_its_device_was_named(
    here: str | None, same: list[str], other: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trainer.accelerator=cpu` goes on with what `auto` began on a machine without a GPU."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: here is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(here) if here else None)
    keys = {kind: of_trainer(TrainerSettings(accelerator=kind))["accelerator"] for kind in same + other}
    assert {keys[kind] for kind in same} == {"auto"}
    assert {kind: keys[kind] for kind in other} == {kind: kind for kind in other}
