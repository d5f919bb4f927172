"""A run in two processes under what a cluster does to it, and two runs on one store; a moment later it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.pipeline.conftest import ROOT

TWO = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
LONG = ("only=[spd_mt]", "stages.spd.steps=5000", "stages.spd.checkpoint_every=2")
ILL = """
import os, sys
from apo_lightning.cli import commands
from apo_lightning.errors import DataError
from apo_lightning.stages.base import Stage

plain, calls = Stage.log_loss, []
def log_loss(self, *args, **kwargs):
    calls.append(1)
    if os.environ["LOCAL_RANK"] == "1" and len(calls) == 3:
        raise DataError("study s7 is ill")
    return plain(self, *args, **kwargs)
Stage.log_loss = log_loss
sys.exit(commands.main(sys.argv[1:]))
"""


class Run:
    """``apo run smoke`` in the background."""

    def __init__(self, words: list[str], runs: Path, *more: str) -> None:
        self.runs, self.log, self.scratch = runs, runs.with_name(f"{uuid4().hex}.log"), runs.with_name("scratch")
        self.scratch.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "apo_lightning", "run", "smoke", *words, f"runs_dir={runs}", *more]
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(self.scratch)}
            )

    @property
    def said(self) -> str:
        """Without the line breaks of the terminal."""
        return " ".join(self.log.read_text().split())

    def wait_for(self, true: Callable[[], bool]) -> None:
        while not true():
            assert self.process.poll() is None, self.said
            time.sleep(0.1)

    def wait_for_step(self, count: int) -> list[psutil.Process]:
        """Until so many steps of SPD are logged; returns every process below this one."""
        logs = self.runs.glob
        self.wait_for(lambda: sum(len(p.read_text().splitlines()) for p in logs("store/spd-*/metrics.jsonl")) >= count)
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        return self.process.wait(timeout=600)


def ranks(below: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in below if each.is_running() and "apo_lightning" in each.cmdline()]


@pytest.mark.slow
def test_sigterm_and_a_killed_process_end_all_and_the_next_command_goes_on(words: list[str], tmp_path: Path) -> None:
    given = (*LONG, *TWO)
    first = Run(words, tmp_path / "runs", *given)
    below = first.wait_for_step(5)
    assert len(ranks(below)) == 2
    first.process.terminate()
    assert first.end() == 143
    assert first.said.endswith("stopped. The same command continues where it stopped.")
    assert "Traceback" not in first.said
    assert psutil.wait_procs(below, timeout=10)[1] == []

    for step, rank, signum in ((12, 1, signal.SIGKILL), (20, 0, signal.SIGKILL), (28, 0, signal.SIGTERM)):
        again = Run(words, tmp_path / "runs", *given)
        below = again.wait_for_step(step)
        victim = ranks(below)[rank]
        victim.send_signal(signum)
        assert again.end() == 1
        assert "continuing from step=" in again.said
        assert f"process {rank + 1} of 2 (pid {victim.pid}) was ended by {signum.name}" in again.said
        assert again.said.count("The same command continues") == 1 and "Traceback" not in again.said
        assert psutil.wait_procs(below, timeout=10)[1] == []
    assert not [path for path in first.scratch.rglob("*") if path.is_file() and path.stat().st_size > 100_000]


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_other_and_is_the_only_one_said(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "ill.py").write_text(ILL)
    launcher = f"""
import sys
from apo_lightning.cli import commands
from apo_lightning.experiment import processes
processes.launch = lambda words, settings: processes.watch([sys.executable, r"{tmp_path}/ill.py", *words], 2)
sys.exit(commands.main(sys.argv[1:]))
"""
    end = subprocess.run(
        [sys.executable, "-c", launcher, "run", "smoke", *words, *LONG, *TWO, f"runs_dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert end.returncode == 2
    assert end.stderr.endswith("error: study s7 is ill\n")
    assert "Traceback" not in end.stderr and "RuntimeError" not in end.stderr


@pytest.mark.slow
def test_two_runs_train_a_stage_once_and_one_goes_on_with_what_the_other_left(words: list[str], tmp_path: Path) -> None:
    """One of the same run folder and one of another; the first is killed in the middle of SPD."""
    given = ["wandb.mode=disabled", "stages.spd.steps=60", "only=[spd_mt]"]
    calm = Run(words, tmp_path / "calm", *given)
    assert calm.end() == 0, calm.said
    first = Run(words, tmp_path / "torn", *given)
    first.wait_for_step(5)
    os.kill(first.process.pid, signal.SIGSTOP)
    others = [Run(words, tmp_path / "torn", *given, f"name={name}") for name in ("smoke", "other")]
    for other in others:
        other.wait_for(lambda other=other: f"spd: waiting for process {first.process.pid} on" in other.said)
    os.kill(first.process.pid, signal.SIGKILL)
    first.end()
    assert [other.end() for other in others] == [0, 0], [other.said for other in others]
    assert sum("taken over from" in other.said for other in others) == 1
    assert sum("continuing from step=" in other.said for other in others) == 1
    assert sum("spd in the store" in other.said for other in others) == 1
    calm_rows, torn_rows = (
        next((tmp_path / name / "store").glob("spd-*/metrics.jsonl")).read_text() for name in ("calm", "torn")
    )
    assert calm_rows == torn_rows and len(calm_rows.splitlines()) == 60
    tables = [(tmp_path / place / "results.csv").read_text() for place in ("calm/smoke", "torn/smoke", "torn/other")]
    assert tables[0] == tables[1] == tables[2]
