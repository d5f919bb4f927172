"""Validation inside Lightning: what it logs, over whatever batches and processes, and that it disturbs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.losses import LOSSES
from apo_lightning.metrics.means import NamedMeans
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.apo import APO
from apo_lightning.stages.base import Stage
from apo_lightning.stages.likelihoods import Likelihoods
from apo_lightning.stages.spd import SPD
from apo_lightning.types import PREFERRED, BranchBatch, Example
from data_modules.base import CXRDataModule
from tests.helpers import tiny
from tests.unit.experiment.test_ranks import both

PREFERENCE = dict(beta=0.5, nll_weight=0.1, reduction="sum")
KL = dict(kind="forward", temperature=1.0, reduction="token_mean")
TEXTS = ("No edema.", "Edema.", "Effusion: yes.")
TEACHERS = (2, 1, 3, 2, 0, 1, 3)
"""How many teachers each study has."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two that spin beside a busy machine take minutes for what is half a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows() -> list[dict[str, str]]:
    return [{PREFERRED: tiny.truth(i), **{f"t{u}": TEXTS[u] for u in range(n)}} for i, n in enumerate(TEACHERS)]


def batches(size: int, count: int = len(TEACHERS)) -> list[BranchBatch]:
    cuts = range(0, count, size)
    return [tiny.collator()([tiny.item(i, rows()[i]) for i in range(c, min(c + size, count))]) for c in cuts]


def moved(module: torch.nn.Module, seed: int = 6) -> torch.nn.Module:
    """Away from where all rewards are 0; t+ is preferred in three studies of the six."""
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.05, generator=draw)
    return module


def apo(loss: str = "apo_listwise", steps: int = 4, **adapter: Any) -> APO:
    settings = PREFERENCE if loss != "sft" else {"reduction": "token_mean"}
    student = moved(tiny.student(**adapter).make_trainable(seed=0))
    return APO(student, LOSSES[loss](**settings), OptimSettings(lr=1e-3), steps=steps, seed=0)


def trainer(**how: Any) -> Trainer:
    quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
    return Trainer(accelerator="cpu", **{**quiet, **how})


def validated(stage: LightningModule, given: Sequence[BranchBatch]) -> dict[str, float]:
    return trainer().validate(stage, DataLoader(list(given), batch_size=None), verbose=False)[0]


def test_apo_logs_what_one_batch_of_all_studies_gives() -> None:
    """By hand from the scores of all seven studies at once; the fifth has no teacher."""
    stage, whole = apo(), batches(7)[0]
    with torch.no_grad():
        logps = stage.eval().student.score(whole).logps
        with stage.student.reference():
            rewards = 0.5 * (logps - stage.student.score(whole).logps)
    got = validated(stage, batches(3))
    margins = [rewards[b, 0] - rewards[b, 1 : 1 + n].mean() for b, n in enumerate(TEACHERS) if n]
    first = [float(rewards[b, 0] > rewards[b, 1 : 1 + n].max()) for b, n in enumerate(TEACHERS) if n]
    assert got["val/margin"] == pytest.approx(float(torch.stack(margins).mean()), rel=1e-4)
    assert got["val/reward_accuracy"] == pytest.approx(sum(first) / 6) and 0 < sum(first) < 6
    assert got["val/reward_chance"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 4 + 1 / 3 + 1 / 2 + 1 / 4) / 6)
    assert got["val/logp_preferred"] == pytest.approx(float(logps[:, 0].mean()), rel=1e-5)
    heard = [logps[b, 3] for b, n in enumerate(TEACHERS) if n == 3]
    assert got["val/logp/t2"] == pytest.approx(float(torch.stack(heard).mean()), rel=1e-5)
    assert {"val/logp/t0", "val/logp/t1", "val/margin/t0", "val/reward/t2", "val/loss", "val/nll"} <= set(got)
    assert not {"val/accuracy", "val/logp_chosen"} & set(got), "said under better names"


@pytest.mark.parametrize("loss", ["apo_listwise", "dpo", "sft"])
def test_the_cut_into_batches_changes_nothing(loss: str) -> None:
    one, other = (validated(apo(loss), batches(size)) for size in (7, 2))
    drawn = {"val/loss", "val/preference"} if loss == "dpo" else set()  # one teacher a study, drawn batch by batch
    assert one.keys() == other.keys()
    assert {k: other[k] for k in other.keys() - drawn} == pytest.approx(
        {k: one[k] for k in one.keys() - drawn}, rel=1e-4
    )
    assert validated(apo(loss), batches(2)) == other, "what a loss draws is the batch's own"


def test_plain_fine_tuning_tells_how_likely_the_teachers_are_too() -> None:
    got = validated(apo("sft"), batches(7))
    assert {"val/loss", "val/logp_preferred", "val/logp/t0", "val/logp/t1", "val/logp/t2"} <= set(got)
    assert "val/reward_accuracy" not in got


def test_padding_counts_for_nothing() -> None:
    own = batches(3)
    again = [*own, replace(own[0], padding=True)]
    assert validated(apo(), again) == validated(apo(), own)
    module = Likelihoods(apo().student)
    validated(module, again)
    assert len(module.rows) == 7


def test_spd_logs_the_texts_of_each_teacher() -> None:
    student = moved(tiny.student().make_trainable(seed=0))
    stage = SPD(student, LOSSES["spd_nll"](reduction="sequence_sum"), OptimSettings(lr=1e-3), steps=1, seed=0)
    items = [tiny.item(i, {f"t{u}": TEXTS[u] for u in range(n)}) for i, n in ((0, 2), (1, 1), (2, 2))]
    collate = tiny.collator()
    got = validated(stage, [collate(items[:2]), collate(items[2:])])
    with torch.no_grad():
        logps = student.eval().score(collate(items)).logps
    assert got["val/logp/t0"] == pytest.approx(float(logps[:, 0].mean()), rel=1e-5)
    assert got["val/logp/t1"] == pytest.approx(float(logps[[0, 2], 1].mean()), rel=1e-5)
    want = -(logps[0].mean() + logps[1, 0] + logps[2].mean()) / 3
    assert got["val/loss"] == pytest.approx(float(want), rel=1e-5)


def test_spd_validates_against_logits_too() -> None:
    """A teacher that is the student itself: no divergence. Another one: some."""
    found = []
    for seed in (0, 1):
        student = tiny.student(seed=0).make_trainable(seed=0)
        stage = SPD(student, LOSSES["spd_kl"](**KL), OptimSettings(lr=1e-3), steps=1, seed=0)
        stage.set_teachers({"t0": tiny.student(seed=seed)})
        found.append(validated(stage, [tiny.collator()([tiny.item(0, {"t0": "No edema."})])]))
    assert found[0]["val/divergence"] == pytest.approx(0, abs=1e-6) and found[1]["val/divergence"] > 0.01


def test_a_test_is_logged_under_its_own_name() -> None:
    got = trainer().test(apo(), DataLoader(batches(3), batch_size=None), verbose=False)[0]
    assert {name.replace("test/", "val/"): v for name, v in got.items()} == validated(apo(), batches(3))


class Noted(Callback):
    """What every optimiser step logs."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *what: Any) -> None:
        if trainer.global_step > len(self.rows):
            self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def fitted(loss: str, val: bool) -> tuple[list[dict[str, float]], Stage, list[bool]]:
    """What a fit of four steps of two micro-batches logs, with dropout, and validation behind every micro-batch."""
    stage, noted = apo(loss, dropout=0.2), Noted()
    given = DataLoader(batches(1, 4), batch_size=None)
    modes: list[bool] = []
    stage.on_train_batch_end = lambda *_: modes.append(all(m.training for m in dropouts(stage)))
    loaders = [given, DataLoader(batches(2), batch_size=None)] if val else [given]
    how = dict(callbacks=[noted], val_check_interval=1 if val else None)
    trainer(max_steps=4, accumulate_grad_batches=2, **how).fit(stage, *loaders)
    return noted.rows, stage, modes


def dropouts(stage: Stage) -> list[torch.nn.Module]:
    return [m for m in stage.modules() if isinstance(m, torch.nn.Dropout) and m.p > 0]


@pytest.mark.parametrize("loss", ["apo_listwise", "dpo"])
def test_validation_in_between_changes_nothing_of_the_training(loss: str) -> None:
    """To the last bit, with dropout and with a loss that draws; the modes come back."""
    alone, one, _ = fitted(loss, val=False)
    beside, other, modes = fitted(loss, val=True)
    assert len(alone) == 4 and not any(name.startswith("val/") for row in alone for name in row)
    assert any("val/loss" in row for row in beside)
    assert [{k: v for k, v in row.items() if not k.startswith("val/")} for row in beside] == alone
    assert dropouts(other) and modes == [True] * 8
    for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_a_checkpoint_gives_the_same_module_back(tmp_path: Path) -> None:
    stage = apo()
    own = trainer(max_steps=2, enable_checkpointing=True, default_root_dir=tmp_path)
    own.fit(stage, DataLoader(batches(2, 4), batch_size=None))
    own.save_checkpoint(tmp_path / "x.ckpt")
    student = tiny.student().make_trainable(seed=5)
    back = APO.load_from_checkpoint(tmp_path / "x.ckpt", student=student, loss=stage.loss)
    assert back.optim == stage.optim and (back.steps, back.seed) == (4, 0)
    for (name, p), q in zip(stage.named_parameters(), back.named_parameters(), strict=True):
        assert name == q[0] and torch.equal(p, q[1]), name
    assert validated(back, batches(3)) == validated(stage, batches(3))


def test_a_checkpoint_of_another_student_is_refused(tmp_path: Path) -> None:
    """Not made trainable, it has no place for the weights."""
    stage = apo()
    checkpoint = {"state_dict": stage.state_dict()}
    stage.trainer = trainer()
    stage.on_save_checkpoint(checkpoint)
    stage.on_load_checkpoint(checkpoint)
    bare = APO(tiny.student(), stage.loss, {"lr": 1e-3}, steps=1, seed=0)
    with pytest.raises(
        ArtifactError, match=r"\d+ weights that the student has not, such as student.*lora_A.*make_trainable"
    ):
        bare.on_load_checkpoint(checkpoint)
    with pytest.raises(ConfigError, match=r"call student\.make_trainable"):
        bare.configure_optimizers()


class Pairs(CXRDataModule):
    """The seven studies above as validation examples, in several processes."""

    on_disk = False

    def read_studies(self, split: str) -> list[Any]:
        return [tiny.item(i, {})[0].study for i in range(len(TEACHERS))]

    def open_images(self, study: Any) -> list[Any]:
        return next(tiny.item(i, {})[1] for i in range(len(TEACHERS)) if tiny.item(i, {})[0].study.id == study.id)


def examples() -> list[Example]:
    return [tiny.item(i, row)[0] for i, row in enumerate(rows())]


class Told(Likelihoods):
    folder: Path

    def on_validation_end(self) -> None:
        (self.folder / f"{self.global_rank}.json").write_text(json.dumps(self.rows))


def likelihoods(folder: Path, processes: int) -> list[Any]:
    """What every process knows in the end."""
    folder.mkdir()
    module, data = Told(apo().student), Pairs()
    module.folder = folder
    data.connect(collate=tiny.collator(), batch_studies=2, seed=0, val=examples())
    more = dict(devices=processes, strategy="ddp_fork") if processes > 1 else {}
    trainer(use_distributed_sampler=False, **more).validate(module, data, verbose=False)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def test_likelihoods_are_those_of_a_plain_loop_over_one_process_and_several(tmp_path: Path) -> None:
    """To the last bit: batches have the same studies. Four batches over three processes: two of padding."""
    student, want = apo().student, []
    for batch in batches(2):
        with torch.no_grad():
            logps = student.score(batch).logps.tolist()
        want += [[row[0], row[1 : len(names)]] for row, names in zip(logps, batch.sources, strict=True)]
    assert [len(teachers) for _, teachers in want] == list(TEACHERS)
    assert likelihoods(tmp_path / "one", 1) == [want]
    assert likelihoods(tmp_path / "three", 3) == [want] * 3


class Named(APO):
    folder: Path

    def on_validation_end(self) -> None:
        found = {k: float(v) for k, v in self.trainer.callback_metrics.items()}
        (self.folder / f"{self.global_rank}.json").write_text(json.dumps(found))


def test_two_processes_log_what_one_logs(tmp_path: Path) -> None:
    """The third teacher is heard in one of them alone."""
    found = []
    for processes in (1, 2):
        stage, data = apo(), Pairs()
        stage.__class__, stage.folder = Named, tmp_path
        data.connect(collate=tiny.collator(), batch_studies=4, seed=0, val=examples()[:6])
        more = dict(devices=processes, strategy="ddp_fork") if processes > 1 else {}
        trainer(use_distributed_sampler=False, **more).validate(stage, data, verbose=False)
        found += [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(processes)]
    assert found[1] == found[2] == pytest.approx(found[0], rel=1e-5)
    assert "val/logp/t2" in found[0]


def test_means_tell_nan_leave_out_what_is_of_nothing_and_begin_anew() -> None:
    means = NamedMeans()
    means.update({"a": torch.tensor(1.0), "b": torch.nan, "c": torch.nan}, {"a": 3, "b": 0, "c": 1})
    means.update({"a": 5.0}, {"a": torch.tensor(1)})
    found = means.compute()
    assert found.keys() == {"a", "c"} and found["a"] == 2 and found["c"].isnan()
    assert means.compute() == {}


def test_means_of_processes_that_met_different_names(tmp_path: Path) -> None:
    def work(rank: int) -> dict[str, float]:
        means = NamedMeans()
        means.update({"a": 1.0 + rank, f"only {rank}": 4.0}, {"a": 1 + 2 * rank, f"only {rank}": 2})
        return {name: float(value) for name, value in means.compute().items()}

    assert both(work, tmp_path) == [{"a": 1.75, "only 0": 4.0, "only 1": 4.0}] * 2
