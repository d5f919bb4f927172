"""One process at a time: a lease on a file, which shared file systems keep and a dead owner loses.

The lock is the existence of the file (``filelock.SoftFileLease``), since kernel locks do not reach across every network
file system. Its owner renews the file's time; another process takes it over once the owner's process is gone on the
same machine, or once nothing was renewed for ``LEASE`` seconds of the other's own clock.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import SoftFileLease, Timeout

from apo_lightning.files.characters import visible

LEASE = 120.0
"""Seconds without a renewal after which an owner counts as dead. All that share a store must agree on it."""
BEAT = 10.0
"""Seconds between two renewals."""
POLL = 0.5
"""Seconds between two looks at a file that another process holds."""

Say = Callable[[str], None]


@contextmanager
def held(path: Path, what: str, say: Say) -> Iterator[None]:
    """Hold ``path``; while another process does, wait for it, and say for whom.

    Where the lease is lost (a process that was suspended is taken for dead), the process interrupts itself as Ctrl-C
    would: two must not go on with one thing.

    Args:
        path: the lock's file; its folder is made.
        what: what the lock is for, the beginning of each line that is said.
        say: takes one line of text.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lease = _lease(path, lambda lost: _interrupt(say, what, lost.reason))
    if not _taken(lease, 1):
        say(f"{what}: waiting for {owner(path)}")
        lease.acquire(poll_interval=POLL)
    if _note(path).exists():  # who ends well takes it along
        say(f"{what}: taken over from {_read_note(path) or 'a process'} that is gone")
    _write_note(path)
    try:
        yield
    finally:
        _note(path).unlink(missing_ok=True)
        lease.release()


def alive(path: Path) -> bool:
    """Whether somebody holds ``path``; what a dead owner left is removed. Of an owner on another machine it takes up
    to ``LEASE`` seconds to know."""
    lease = _lease(path, None)
    if not (_taken(lease, 1) or _taken(lease, 0 if _is_here(lease) else LEASE + BEAT)):
        return True
    _note(path).unlink(missing_ok=True)
    lease.release()
    return False


def tidy(path: Path) -> None:
    """Take away what a dead process of this machine left; that of another machine is not waited for."""
    if _is_here(_lease(path, None)):
        alive(path)


def owner(path: Path) -> str:
    """Who holds ``path``: process, machine, and since when."""
    found = _lease(path, None).owner
    known = _read_note(path)
    if found is None or (known and f"process {found.pid} " in known):
        return known or "another process"
    return f"process {found.pid} on {_plain(found.hostname)}"


def _lease(path: Path, lost: Callable | None) -> SoftFileLease:
    return SoftFileLease(path, lease_duration=LEASE, heartbeat_interval=BEAT, on_compromise=lost)


def _taken(lease: SoftFileLease, seconds: float) -> bool:
    """Acquired within ``seconds``; a dead owner's file is removed by the first look and taken by the second."""
    try:
        lease.acquire(timeout=seconds, poll_interval=0.05)
    except Timeout:
        return False
    return True


def _is_here(lease: SoftFileLease) -> bool:
    found = lease.owner
    return found is None or _plain(found.hostname) == os.uname().nodename


def _plain(host: str) -> str:
    """A machine's name without what the library adds for processes in containers."""
    return visible(host.split("?")[0])


def _note(path: Path) -> Path:
    """Beside the lock, what its file does not hold: since when, and for which command."""
    return path.with_name(f"{path.name}.owner")


def _write_note(path: Path) -> None:
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    command = " ".join(["apo", *sys.argv[1:]])
    text = f"process {os.getpid()} on {os.uname().nodename} since {since} ({command})"
    _note(path).write_text(json.dumps(text), "utf-8")


def _read_note(path: Path) -> str:
    try:
        return visible(str(json.loads(_note(path).read_text("utf-8"))))
    except (OSError, ValueError):  # not yet written, or gone meanwhile
        return ""


def _interrupt(say: Say, what: str, reason: str) -> None:
    say(f"{what}: another process has taken this over ({reason}); stopping here")
    os.kill(os.getpid(), signal.SIGINT)
