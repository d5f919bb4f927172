"""A run in two processes under what a cluster does to it, and two runs on one store; a moment later it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.pipeline.conftest import ROOT

TWO = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
LONG = ("only=[spd_mt]", "stages.spd.steps=5000", "stages.spd.checkpoint_every=2")
ILL = """
import os, sys
from apo_lightning import cli
from apo_lightning.errors import DataError
from apo_lightning.stages.base import Stage

plain, calls = Stage.finish, []
def finish(self, *args, **kwargs):
    calls.append(1)
    if os.environ["LOCAL_RANK"] == "1" and len(calls) == 3:
        raise DataError("study s7 is ill")
    return plain(self, *args, **kwargs)
Stage.finish = finish
sys.exit(cli.main(sys.argv[1:]))
"""


class Run:
    """``apo run smoke`` in the background."""

    def __init__(self, words: list[str], runs: Path, *more: str) -> None:
        self.runs = runs
        command = [sys.executable, "-m", "apo_lightning", "run", "smoke", *words, f"runs_dir={runs}", *more]
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def wait_for_step(self, count: int) -> list[psutil.Process]:
        """Until so many steps of SPD are logged; returns every process below this one."""
        while sum(len(path.read_text().splitlines()) for path in self.runs.glob("store/spd-*/metrics.jsonl")) < count:
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.1)
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> tuple[int, str]:
        said = self.process.communicate(timeout=600)[0]
        return self.process.returncode, said


def ranks(below: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in below if each.is_running() and "apo_lightning" in each.cmdline()]


@pytest.mark.slow
def test_sigterm_and_a_killed_process_end_all_and_the_next_command_goes_on(words: list[str], tmp_path: Path) -> None:
    given = (*LONG, *TWO)
    first = Run(words, tmp_path, *given)
    below = first.wait_for_step(5)
    assert len(ranks(below)) == 2
    first.process.terminate()
    status, said = first.end()
    assert status == 143
    assert said.endswith("\nstopped. The same command continues where it stopped.\n") and "Traceback" not in said
    assert psutil.wait_procs(below, timeout=10)[1] == []

    second = Run(words, tmp_path, *given)
    below = second.wait_for_step(12)
    victim = ranks(below)[1]
    victim.kill()
    status, said = second.end()
    assert status == 1
    assert "continuing from step=" in said
    assert f"process 2 of 2 (pid {victim.pid}) was ended by SIGKILL" in said
    assert said.count("The same command continues") == 1 and "Traceback" not in said
    assert psutil.wait_procs(below, timeout=10)[1] == []


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_other_and_is_the_only_one_said(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "ill.py").write_text(ILL)
    launcher = f"""
import sys
from apo_lightning import cli, processes
processes.launch = lambda words, settings: processes.watch([sys.executable, r"{tmp_path}/ill.py", *words], 2)
sys.exit(cli.main(sys.argv[1:]))
"""
    end = subprocess.run(
        [sys.executable, "-c", launcher, "run", "smoke", *words, *LONG, *TWO, f"runs_dir={tmp_path}"], cwd=ROOT,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert end.returncode == 2
    assert end.stderr.endswith("error: study s7 is ill\n")
    assert "Traceback" not in end.stderr and "RuntimeError" not in end.stderr


@pytest.mark.slow
def test_two_runs_train_a_stage_once_and_one_goes_on_with_what_the_other_left(words: list[str], tmp_path: Path) -> None:
    """Different arms that share SPD, in one run folder; the first is killed in the middle of it."""
    given = ["wandb.mode=disabled", "stages.spd.steps=60"]
    calm = Run(words, tmp_path / "calm", *given, "only=[spd_mt]")
    assert calm.end()[0] == 0
    first = Run(words, tmp_path / "torn", *given, "only=[spd_mt]")
    first.wait_for_step(5)
    others = [Run(words, tmp_path / "torn", *given, f"only=[{arm}]") for arm in ("spd_mt", "apo_listwise")]
    for other in others:
        for line in other.process.stdout:
            if "spd: waiting for" in line.replace("\n", " ") or "waiting for" in line:
                break
    os.kill(first.process.pid, signal.SIGKILL)
    first.end()
    said = [other.end() for other in others]
    assert [status for status, _ in said] == [0, 0]
    assert sum("taken over from" in text for _, text in said) == 1
    assert sum("continuing from step=" in text for _, text in said) == 1
    calm_rows, torn_rows = (
        next((tmp_path / name / "store").glob("spd-*/metrics.jsonl")).read_text() for name in ("calm", "torn")
    )
    assert calm_rows == torn_rows and len(calm_rows.splitlines()) == 60
    table = (tmp_path / "torn" / "smoke" / "results.csv").read_text()
    assert "apo_listwise" in table and "spd_mt" in table
    assert (tmp_path / "torn" / "smoke" / "report.html").exists()
