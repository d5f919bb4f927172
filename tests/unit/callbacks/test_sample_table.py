"""sample_table: which studies are asked, when, what is written, and what leaves the machine."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import WandbLogger

from apo_lightning import config
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import observing
from callbacks import CALLBACKS
from callbacks.sample_table import SampleTable, undisturbed
from tests.contracts.test_observing import STEPS, _one_thread, fit  # noqa: F401
from tests.helpers import tiny


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples_step.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(("every", "steps"), [(0, [STEPS]), (3, [3, STEPS])])
def test_the_first_validation_studies_are_asked(tmp_path: Path, every: int, steps: list[int]) -> None:
    fit(tmp_path / "run", SampleTable(str(tmp_path / "run"), every=every, studies=2, max_new_tokens=3))
    found = rows(tmp_path / "run")
    asked = [case.id for case, _ in tiny.drawn()][:2]
    assert [(row["step"], row["study"]) for row in found] == [(step, study) for step in steps for study in asked]
    assert set(found[0]) == {"step", "study", "text", "cut", "truth"} and set(found[0]["truth"].values()) <= {0, 1}


class Spy(WandbLogger):
    """Takes tables, and reaches nobody."""

    def __init__(self) -> None:
        self.tables: list[dict[str, Any]] = []

    def log_table(self, key: str, **given: Any) -> None:
        self.tables.append({"key": key, **given})


def show(folder: Path, *, upload: bool) -> list[dict[str, Any]]:
    """What W&B gets of one table, with a student that says "Edema."."""
    study, spy = tiny.study(tiny.drawn()[0][0]), Spy()
    watch = SampleTable(str(folder), upload=upload, studies=1)
    watch._ask = lambda trainer, stage, studies: [SimpleNamespace(text="Edema.", cut=False)]
    trainer = SimpleNamespace(
        global_step=0, is_global_zero=True, loggers=[spy], datamodule=SimpleNamespace(studies=lambda split: [study])
    )
    stage = SimpleNamespace(device_mesh=None)
    watch.on_train_start(trainer, stage)
    trainer.global_step = 7
    watch.on_train_end(trainer, stage)
    assert [row["text"] for row in rows(folder)] == ["Edema."]
    return spy.tables


def test_texts_about_guarded_data_stay_here(tmp_path: Path) -> None:
    assert show(tmp_path / "kept", upload=False) == []
    (table,) = show(tmp_path / "shown", upload=True)
    assert table["key"] == "samples" and table["step"] == 7 and table["data"][0][2] == "Edema."


@pytest.mark.parametrize(
    ("credentialed", "acknowledge", "shown"), [(False, [], True), (True, [], False), (True, ["own"], True)]
)
def test_the_program_says_whether_texts_may_be_shown(
    tmp_path: Path, credentialed: bool, acknowledge: list[str], shown: bool
) -> None:
    cfg = SimpleNamespace(data={"name": "own"}, evaluate=SimpleNamespace(data=None))
    data = SimpleNamespace(sets=(SimpleNamespace(credentialed=credentialed),))
    allowed = observing.guarded(cfg, data) <= set(acknowledge)
    (watch,) = observing.build({"sample_table": {}}, SimpleNamespace(path=tmp_path), upload=allowed)
    assert watch.upload is shown


def test_no_file_can_say_that_texts_may_be_shown(tmp_path: Path) -> None:
    (watch,) = observing.build({"sample_table": {"upload": True}}, SimpleNamespace(path=tmp_path), upload=False)
    assert watch.upload is False


def test_a_resumed_run_drops_the_tables_after_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "samples_step.jsonl").write_text('{"step": 2}\n{"step": 4}\n{"step": 6, "te')
    trainer = SimpleNamespace(global_step=3, is_global_zero=True)
    SampleTable(str(tmp_path)).on_train_start(trainer, None)
    assert rows(tmp_path) == [{"step": 2}]


def test_modes_counts_and_random_state_come_back_though_asking_fails() -> None:
    student = tiny.student(dropout=0.1).make_trainable(seed=0)
    student.train()
    part = next(module for module in student.modules() if isinstance(module, torch.nn.Dropout))
    part.eval()
    student.counts["images encoded"] = 3
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="asked in vain"), undisturbed(student, torch.device("cpu")):
        assert not student.training
        torch.rand(3)
        student.counts["images encoded"] += 1
        raise ValueError("asked in vain")
    assert student.training and not part.training and student.counts == {"images encoded": 3}
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("setting", "value"), [("studies", 0), ("every", -1)])
def test_a_setting_out_of_range_is_named(tmp_path: Path, setting: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"callbacks\.sample_table\.{setting} must be >= "):
        config.build(CALLBACKS, {setting: value}, "callbacks.sample_table", None, folder=str(tmp_path))
