"""The launcher of several processes ends them all, whatever happens to one of them or to itself, and speaks once.

The processes are small scripts; tests/pipeline/test_launched_runs.py does the same with a run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from apo_lightning.experiment import membership, processes
from apo_lightning.settings import TrainerSettings
from tests.helpers.hearing import heard

LAUNCHER = """
import sys
from apo_lightning.cli import commands
from apo_lightning.experiment import processes
processes.GRACE = 1.0
processes.SUSPENDED = 2.0
commands.run = lambda options: commands.show_outcome(processes.watch([sys.executable, *sys.argv[1:]], 2))
sys.exit(commands.main(["run", "smoke"]))
"""
MEMBER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from apo_lightning.experiment import membership
from apo_lightning.errors import DataError

rank = int(os.environ["LOCAL_RANK"])
here = Path(sys.argv[1])

def note(name, pid):
    (here / f"{name}.tmp").write_text(str(pid))
    (here / f"{name}.tmp").rename(here / f"{name}.pid")

def ready():
    note(rank, os.getpid())

def wait_for(name):
    while not (here / f"{name}.pid").exists():
        time.sleep(0.01)

def work():
"""
SLEEP = "ready(); time.sleep(60)"


class Run:
    """A launcher with two processes that do ``work``, lines of Python; they know ``rank``."""

    def __init__(self, folder: Path, work: str, before: str = "") -> None:
        (folder / "launcher.py").write_text(LAUNCHER)
        lines = "".join(f"    {line}\n" for line in work.splitlines())
        (folder / "member.py").write_text(f"{MEMBER}{lines}\n{before}with membership.member():\n    work()\n")
        self.folder = folder
        self.launcher = subprocess.Popen(
            [sys.executable, folder / "launcher.py", folder / "member.py", folder],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def pids(self, *names: str) -> list[int]:
        files = [self.folder / f"{name}.pid" for name in names]
        until(lambda: all(file.exists() for file in files))
        return [int(file.read_text()) for file in files]

    def end(self) -> tuple[int, str]:
        """Exit status and everything that was said."""
        out, err = self.launcher.communicate(timeout=30)
        return self.launcher.returncode, out + err


def until(true: Callable[[], bool]) -> None:
    """A test that hangs fails here: nothing below takes more than seconds."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def gone(*pids: int) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_to_the_launcher_ends_all_with_one_line_on_how_to_go_on(
    tmp_path: Path, signum: signal.Signals, status: int
) -> None:
    with heard(signum):
        run = Run(tmp_path, SLEEP)
    pids = run.pids("0", "1")
    run.launcher.send_signal(signum)
    assert run.end() == (status, "\nstopped. The same command continues where it stopped.\n")
    assert gone(*pids)


def test_processes_that_do_not_listen_are_killed_with_all_they_started(tmp_path: Path) -> None:
    """As one that waits in a collective."""
    deaf = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    run = Run(tmp_path, f"{deaf}note(f'child{{rank}}', subprocess.Popen(['sleep', '60']).pid)\n{SLEEP}")
    pids = run.pids("0", "1", "child0", "child1")
    run.launcher.terminate()
    assert run.end()[0] == 143
    until(lambda: gone(*pids))


def test_a_killed_process_ends_the_others_and_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path, SLEEP)
    pids = run.pids("0", "1")
    os.kill(pids[1], signal.SIGKILL)
    status, said = run.end()
    assert status == 1
    assert f"process 2 of 2 (pid {pids[1]}) was ended by SIGKILL" in said
    assert "The same command continues where it stopped." in said
    assert gone(*pids)


FINALISER = """
class Deaf:
    def __del__(self):
        ready()
        time.sleep(10)
if rank == 0:
    wait_for('1')
    os.kill(os.getpid(), signal.SIGKILL)
Deaf()
time.sleep(60)
"""


def test_a_process_in_a_finaliser_ends_with_the_others_and_prints_nothing(tmp_path: Path) -> None:
    """Python lets no exception out of a ``__del__``: it prints it and goes on."""
    status, said = Run(tmp_path, FINALISER).end()
    assert status == 1 and "process 1 of 2" in said and "SIGKILL" in said
    assert "Exception ignored" not in said and "Traceback" not in said


FOLLOWS = "    time.sleep(1); raise RuntimeError('connection closed by peer')\n"
INTERRUPTED = f"""
if rank == 0:
    wait_for('interrupted')
{FOLLOWS}
import atexit; atexit.register(time.sleep, 4)  # what a run tears down
try:
    {SLEEP}
finally:
    note('interrupted', 0)
"""


def test_an_interrupted_process_is_named_and_not_what_follows_from_it(tmp_path: Path) -> None:
    """It takes a while to end, and the others have told of their broken connection by then."""
    run = Run(tmp_path, INTERRUPTED)
    [pid] = run.pids("1")
    os.kill(pid, signal.SIGINT)
    status, said = run.end()
    assert status == 1 and "Traceback" not in said
    assert f"process 2 of 2 (pid {pid}) was ended by SIGINT. The same command continues" in " ".join(said.split())


def test_one_that_ends_without_a_word_is_named_and_not_what_follows_from_it(tmp_path: Path) -> None:
    status, said = Run(tmp_path, f"if rank == 0:\n    wait_for(1)\n{FOLLOWS}ready(); os._exit(7)").end()
    assert status == 1 and "Traceback" not in said
    assert "ended with status 7 and said nothing" in " ".join(said.split())


def test_a_suspended_process_ends_the_others_and_is_named(tmp_path: Path) -> None:
    """The others wait for it in a collective, for half an hour or for ever."""
    run = Run(tmp_path, SLEEP)
    pids = run.pids("0", "1")
    os.kill(pids[1], signal.SIGSTOP)
    status, said = run.end()
    assert status == 1
    assert f"process 2 of 2 (pid {pids[1]}) was suspended (SIGSTOP) for 2 s" in " ".join(said.split())
    assert "The same command continues where it stopped." in " ".join(said.split())
    assert gone(*pids)


def test_a_suspension_that_is_over_in_time_or_that_all_share_is_none(tmp_path: Path) -> None:
    run = Run(tmp_path, "ready(); wait_for('end')")
    pids = run.pids("0", "1")
    os.kill(pids[1], signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(pids[0], signal.SIGSTOP)  # now both: somebody pauses them
    time.sleep(3)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    (tmp_path / "end.pid").write_text("")
    assert run.end() == (0, "")


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_error_is_said_once_and_not_what_follows_from_it(tmp_path: Path, first: int) -> None:
    work = (
        f"if rank == {first}:\n"
        "    note('failed', 0)\n"
        "    raise DataError('row 7 is no row')\n"
        "wait_for('failed'); time.sleep(0.05)\n"
        "raise RuntimeError('connection closed by peer')"
    )
    assert Run(tmp_path, work).end() == (2, "error: row 7 is no row\n")


@pytest.mark.parametrize("said", ["READY", "error"])
def test_an_interrupt_is_no_traceback_wherever_it_comes(said: str) -> None:
    """The launcher ends the others as soon as one has failed: while they start, or tell of an error of their own."""
    reads, writes = os.pipe()
    script = (
        "import os, signal\n"
        "from apo_lightning.experiment import membership\n"
        "write = os.write\n"
        "def interrupted(pipe, said):\n"
        "    write(pipe, said)\n"
        f"    if (said == membership.READY) == ({said!r} == 'READY'):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "os.write = interrupted\n"
        "with membership.member():\n"
        "    raise RuntimeError('connection closed by peer')\n"
    )
    own = {membership.LAUNCHER: str(os.getpid()), membership.REPORT: str(writes)}
    found = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | own, pass_fds=(writes,), capture_output=True, text=True
    )
    os.close(reads)
    os.close(writes)
    assert (found.returncode, found.stdout + found.stderr) == (130, "")


def test_one_that_waits_for_a_failed_one_is_ended(tmp_path: Path) -> None:
    run = Run(tmp_path, "if rank == 0:\n    wait_for(1); raise DataError('no')\n" + SLEEP)
    pids = run.pids("1")
    assert run.end() == (2, "error: no\n")
    assert gone(*pids)


def test_an_error_that_nobody_foresaw_keeps_its_traceback(tmp_path: Path) -> None:
    status, said = Run(tmp_path, f"if rank == 1:\n    int('seven')\n{SLEEP}").end()
    assert status == 1
    assert said.startswith("Traceback") and said.count("invalid literal for int()") == 1


def test_a_long_error_arrives(tmp_path: Path) -> None:
    status, said = Run(tmp_path, f"if rank == 1:\n    raise DataError('\u00e9' * 10_000)\n{SLEEP}").end()
    assert status == 2
    assert said.count("\u00e9") == membership.LONGEST


def test_one_that_is_still_starting_ends_without_a_word(tmp_path: Path) -> None:
    """Ctrl-C in the middle of an import would print a traceback."""
    run = Run(tmp_path, SLEEP, before="if os.environ['LOCAL_RANK'] == '1':\n    note('late', 0); time.sleep(60)\n")
    run.pids("0", "late")
    run.launcher.terminate()
    assert run.end() == (143, "\nstopped. The same command continues where it stopped.\n")


def test_an_end_without_a_word_is_named(tmp_path: Path) -> None:
    status, said = Run(tmp_path, f"if rank == 1:\n    os._exit(7)\n{SLEEP}").end()
    assert status == 1
    assert "process 2 of 2" in said and "ended with status 7" in said


def test_all_that_end_well_end_well(tmp_path: Path) -> None:
    assert Run(tmp_path, "ready(); wait_for(1 - rank)").end() == (0, "")


def test_processes_end_with_a_launcher_that_was_killed(tmp_path: Path) -> None:
    run = Run(tmp_path, SLEEP)
    pids = run.pids("0", "1")
    run.launcher.kill()
    run.end()
    until(lambda: gone(*pids))


def test_what_is_ignored_under_nohup_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = Run(tmp_path, "ready(); wait_for('end')")
    finally:
        signal.signal(signal.SIGHUP, before)
    run.pids("0", "1")
    run.launcher.send_signal(signal.SIGHUP)
    (tmp_path / "end.pid").write_text("")
    assert run.end() == (0, "")


@pytest.mark.parametrize(
    ("settings", "environment", "wanted"),
    [
        ({"devices": 1}, {}, False),
        ({"devices": 2}, {}, True),
        ({"devices": 1, "num_nodes": 2}, {}, True),
        ({"devices": 2}, {"LOCAL_RANK": "0"}, False),  # torchrun, or our own launcher
        ({"devices": 2}, {"SLURM_NTASKS": "2"}, False),
        ({"devices": 2}, {"SLURM_NTASKS": "1"}, True),  # one task with two GPUs
    ],
)
def test_processes_are_started_where_nobody_else_has_or_will(
    monkeypatch: pytest.MonkeyPatch, settings: dict, environment: dict, wanted: bool
) -> None:
    for name in (*processes.STARTED, "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes.wanted(TrainerSettings(**settings)) is wanted


def test_a_launcher_that_is_gone_does_not_hide_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process cannot report any more it still ends with."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv(membership.REPORT, str(writing))
    try:
        membership._report(RuntimeError("connection reset by peer"))
    finally:
        os.close(writing)
