"""Training that comes to NaN is an error that names its step: nothing of it is stored as done, nothing good is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from apo_lightning import scoring
from apo_lightning.cli.commands import main
from apo_lightning.errors import DivergedError
from apo_lightning.losses.spd_nll import SpdNll
from apo_lightning.models.student import Student
from apo_lightning.stages.base import Stage
from tests.pipeline.conftest import ROOT


def command(words: list[str], runs: Path, *more: str) -> list[str]:
    file = str(ROOT / "experiments/smoke.yaml")
    return ["run", file, *words, f"runs_dir={runs}", "only=[spd_mt]", "wandb.mode=disabled", *more]


def spoil_loss(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The loss is NaN at its ``call``-th call."""
    plain, calls = Stage.compute_loss, []

    def compute_loss(self: Stage, given: dict[str, Any]) -> Any:
        output = plain(self, given)
        calls.append(1)
        output.loss.data.fill_(torch.nan if len(calls) == call else output.loss.item())
        return output

    monkeypatch.setattr(Stage, "compute_loss", compute_loss)
    monkeypatch.setattr(SpdNll, "linear", False, raising=False)  # one call a step


def store(runs: Path) -> Path:
    return next((runs / "store").glob("spd-*[0-9a-f]"))


def test_a_learning_rate_that_breaks_the_student(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert main(command(words, tmp_path, "stages.spd.optim.lr=1e30")) == 2
    said = capfd.readouterr().err
    assert "error: stages.spd: the loss is nan at step 2 of 6." in said
    assert "Lower stages.spd.optim.lr (1e+30)" in said
    assert not (store(tmp_path) / "manifest.json").exists()
    assert not (tmp_path / "smoke/results.csv").exists()


def test_a_last_step_that_leaves_weights_nothing_can_be_computed_with(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert main(command(words, tmp_path, "stages.spd.steps=1", "stages.spd.optim.lr=1e30")) == 2
    said = capfd.readouterr().err
    assert "error: stages.spd: the log-probabilities are no finite numbers after step 1 of 1." in said
    assert not (store(tmp_path) / "manifest.json").exists()


def test_a_loss_that_turns_nan_keeps_the_last_good_checkpoint(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        spoil_loss(patched, call=5)
        assert main(command(words, tmp_path)) == 2
    assert "stages.spd: the loss is nan at step 5 of 6." in capfd.readouterr().err
    folder = store(tmp_path)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step=2.ckpt", "step=4.ckpt"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert main(command(words, tmp_path)) == 0
    assert "continuing from step=4" in capfd.readouterr().out


@pytest.mark.parametrize(("step", "kept"), [(4, ["step=2.ckpt"]), (5, ["step=2.ckpt", "step=4.ckpt"])])
def test_weights_that_turn_nan_are_never_kept(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
    step: int,
    kept: list[str],
) -> None:
    """A gradient that is NaN beside a loss that is not. Step 4 is one that is saved; 5 is the last."""
    plain = Stage.on_before_optimizer_step

    def spoil(self: Stage, optimizer: torch.optim.Optimizer) -> None:
        plain(self, optimizer)
        if self.trainer.global_step + 1 == step:
            next(p for p in self.parameters() if p.requires_grad).grad.fill_(torch.nan)

    monkeypatch.setattr(Stage, "on_before_optimizer_step", spoil)
    assert main(command(words, tmp_path, "stages.spd.steps=5")) == 2
    said = capfd.readouterr().err
    assert f"stages.spd: the trained weights are no finite numbers after step {step} of 5." in said
    folder = store(tmp_path)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == kept
    assert not (folder / "manifest.json").exists()


def test_a_student_of_damaged_weights_writes_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    plain = Student.load.__func__

    def damaged(cls: type[Student], *given: Any) -> Student:
        student = plain(cls, *given)
        head: nn.Module = scoring.Parts.of(student.model).whole.get_output_embeddings()
        head.weight.data[3] = torch.nan
        return student

    monkeypatch.setattr(Student, "load", classmethod(damaged))
    assert main([*command(words, tmp_path)[:-2], "only=[base]", "wandb.mode=disabled"]) == 2
    assert "The student cannot write: its logits are NaN." in capfd.readouterr().err
    assert not list((tmp_path / "store").glob("evaluate-*/manifest.json"))


def test_a_stored_student_that_cannot_write_is_named_with_how_to_train_it_anew(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """Else the same command would end there for ever: its stage counts as done."""

    def refuse(*given: Any) -> None:
        raise DivergedError("The student cannot write: its logits are NaN.")

    monkeypatch.setattr(Student, "write", refuse)
    assert main(command(words, tmp_path)) == 2
    said = capfd.readouterr().err
    folder = store(tmp_path)
    assert "error: Stage evaluate of arm 'spd_mt', seed 0: The student cannot write: its logits are NaN." in said
    assert f"It was read from {folder / 'student'}." in said and f"rm -r {folder}" in said


def test_a_stage_that_fails_is_stopped_where_that_is_asked_for(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """A learning rate of nothing: t+ and the teachers are not told apart."""
    watch = ("callbacks.failure_signatures.stop=true", "callbacks.failure_signatures.window=3")
    plain = [word for word in command(words, tmp_path) if not word.startswith("only=")]
    given = [*plain, "only=[apo_listwise]", "stages.apo.optim.lr=1e-12", *watch]
    assert main(given) == 2
    said = capfd.readouterr().err
    assert "Stopped at step 3, no_convergence: " in said and "stop=false" in said
    folder = next((tmp_path / "store").glob("apo-*[0-9a-f]"))
    assert not (folder / "manifest.json").exists()
    assert [row["signature"] for row in json.loads((folder / "failures.json").read_text())] == ["no_convergence"]
    assert main(given) == 2  # the same command comes to the same step
    on = ["name=second", "callbacks.failure_signatures.stop=false", "evaluate.likelihood_studies=2"]
    assert main([*given, *on]) == 0  # another stage, trained from its start
    assert json.loads((tmp_path / "second/apo_listwise/seed0/apo/failures.json").read_text())
