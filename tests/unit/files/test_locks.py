"""Two processes and one thing: one has it, the other waits and says for whom; a dead owner loses it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apo_lightning.files import locks

HOLDER = """
import sys, time
from pathlib import Path
from apo_lightning.files import locks
# first
with locks.held(Path(sys.argv[1]), "stage", print):
    print("mine", flush=True)
    sys.stdin.readline()
    Path(sys.argv[1]).with_suffix(".result").touch()
"""


class Holder:
    """A process that holds the lock until it is told to let go."""

    def __init__(self, path: Path, first: str = "") -> None:
        command = [sys.executable, "-c", HOLDER.replace("# first", first), str(path)]
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "mine\n"

    def let_go(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "spd.lock"


def dead_elsewhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """What a killed process of a machine leaves that cannot be asked whether it lives, and its number."""
    monkeypatch.setattr(locks, "LEASE", 2.0)
    monkeypatch.setattr(locks, "BEAT", 0.3)
    holder = Holder(path, "import socket; socket.gethostname = lambda: 'node7'; locks.LEASE, locks.BEAT = 2.0, 0.3")
    holder.kill()
    locks._note(path).unlink()
    return holder.process.pid


def test_the_second_waits_and_says_for_which_process_where_and_since_when(path: Path) -> None:
    holder, said = Holder(path), []

    def say(text: str) -> None:
        said.append(text)
        holder.let_go()

    with locks.held(path, "spd", say):
        assert path.with_suffix(".result").exists()
    holder.process.wait(30)
    assert len(said) == 1
    who = f"spd: waiting for process {holder.process.pid} on {os.uname().nodename} since {time.strftime('%Y-')}"
    assert said[0].startswith(who)


def test_a_killed_owner_is_taken_over_from_at_once(path: Path) -> None:
    holder, said = Holder(path), []
    holder.kill()
    with locks.held(path, "spd", said.append):
        pass
    assert len(said) == 1 and f"taken over from process {holder.process.pid} on" in said[0]


def test_an_owner_that_ends_well_leaves_nothing(path: Path) -> None:
    said = []
    for _ in range(2):
        with locks.held(path, "spd", said.append):
            pass
    assert said == [] and list(path.parent.iterdir()) == []


def test_an_owner_elsewhere_is_dead_once_nothing_is_renewed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number, said = dead_elsewhere(path, monkeypatch), []
    with locks.held(path, "spd", said.append):
        pass
    assert said == [f"spd: waiting for process {number} on node7"]


def test_who_is_alive(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Holder(path)
    assert locks.alive(path)
    holder.kill()
    assert not locks.alive(path)
    assert list(path.parent.iterdir()) == []
    dead_elsewhere(path, monkeypatch)
    assert not locks.alive(path)  # after watching it
    assert list(path.parent.iterdir()) == []


def test_who_was_taken_for_dead_stops(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that was suspended for longer than the lease, and woke up."""
    monkeypatch.setattr(locks, "BEAT", 0.1)
    said: list[str] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), locks.held(path, "spd", said.append):
            path.unlink()
            path.write_text("another process")
            time.sleep(10)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(said) == 1 and "another process has taken this over" in said[0]
    assert path.read_text() == "another process"
