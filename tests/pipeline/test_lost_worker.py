"""A process that loads images and is killed: one sentence that names it, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from apo_lightning.cli.commands import main
from apo_lightning.stages.base import Stage
from data_modules.loading import workers
from tests.pipeline.conftest import ROOT


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("DataLoader worker (pid 71) is killed by signal: Killed. ", "(pid 71) was ended by a signal (Killed)."),
        ("DataLoader worker (pid 71) is killed by signal: Bus error. It is possible that", "(Bus error)."),
        ("DataLoader worker (pid 71) exited unexpectedly with exit code 3. Details", "(pid 71) ended without a word."),
        ("DataLoader worker (pid(s) 71, 72) exited unexpectedly", "(pid 71, 72) ended without a word."),
    ],
)
def test_what_torch_says_is_one_sentence(said: str, named: str) -> None:
    sentence = workers.lost(RuntimeError(said), 2)
    assert named in sentence
    assert "Lower data.num_workers (2)" in sentence and "the same command continues" in sentence


def test_other_errors_are_none() -> None:
    assert workers.lost(RuntimeError("CUDA out of memory"), 2) is None
    assert workers.lost(ValueError("DataLoader worker (pid 7) exited unexpectedly"), 2) is None


@pytest.mark.parametrize(("place", "is_lost"), [("torch/multiprocessing/reductions.py", True), ("asking.py", False)])
def test_a_tensor_that_cannot_be_taken_over(place: str, is_lost: bool) -> None:
    """What is seen first, where torch has not yet looked for its processes."""
    lines = compile("raise ConnectionResetError(104, 'Connection reset by peer')", f"/lib/{place}", "exec")
    with pytest.raises(ConnectionResetError) as caught:
        exec(lines)
    sentence = workers.lost(caught.value, 2)
    assert (sentence is not None) == is_lost
    assert sentence is None or "a process that loads images ended without a word." in sentence


def loaders() -> list[psutil.Process]:
    """Processes that multiprocessing's server has started for this one."""
    own = psutil.Process().children()
    servers = [each for each in own if "forkserver" in " ".join(each.cmdline())]
    return [worker for server in servers for worker in server.children()]


def test_a_killed_one_is_named_and_the_command_goes_on(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    given = [*words, f"runs_dir={tmp_path}", "only=[spd_mt]", "wandb.mode=disabled", "stages.spd.steps=30"]
    command = ["run", str(ROOT / "experiments/smoke.yaml"), *given, "data.num_workers=2"]
    plain, killed = Stage.log_loss, []

    def log_loss(self: Stage, *args: object, **kwargs: object) -> object:
        if self.trainer.global_step == 4 and not killed:
            killed.extend(loaders())
            for each in killed:
                os.kill(each.pid, signal.SIGKILL)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(Stage, "log_loss", log_loss)
    assert main(command) == 2
    said = " ".join(capfd.readouterr().err.split())
    assert killed and "error: Stage spd of arm 'spd_mt', seed 0: a process that loads images" in said
    assert "Lower data.num_workers (2)" in said and "Traceback" not in said
    assert "(pid " not in said or any(str(each.pid) in said for each in killed)
    assert main(command) == 0
    assert "continuing from step=" in capfd.readouterr().out
    [metrics] = tmp_path.glob("store/spd-*/metrics.jsonl")
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == [*range(1, 31)]
