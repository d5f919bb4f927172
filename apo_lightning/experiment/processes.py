"""The processes of one run on this machine: started together, watched, and ended together.

``torchrun`` does the same for a command that is started under it. A run that names several devices and was started by
hand comes here: the launcher is no rank, so it sits in no collective and answers a signal at once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil

from apo_lightning.errors import ConfigError
from apo_lightning.experiment.membership import LAUNCHER, REPORT
from apo_lightning.settings import TrainerSettings
from apo_lightning.signals import STOPS, Stopped

STARTED = ("LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "JSM_NAMESPACE_RANK")
"""Set by torchrun, mpirun and jsrun, and here, in each of several processes."""
GRACE = 5.0
"""Seconds that processes have to end by themselves before they are killed."""
PERIOD = 0.1
SUSPENDED = 30.0
"""Seconds for which one process may be suspended (SIGSTOP, a debugger) while another is not, and waits for it."""


@dataclass(frozen=True)
class Outcome:
    """How the processes of a run ended: exit status, and for a failure what its first cause was.

    Attributes:
        status: 0 where all ended well, 2 after an error the user can mend, 1 after any other.
        message: one sentence.
        trace: traceback of an error that nobody foresaw, else "".
    """

    status: int = 0
    message: str = ""
    trace: str = ""


def wanted(settings: TrainerSettings) -> bool:
    """True where this command must start the processes: several are asked for, and nobody has started them yet."""
    count = settings.devices * settings.num_nodes
    by_slurm = int(os.environ.get("SLURM_NTASKS", 1)) == count
    return count > 1 and not (by_slurm or any(name in os.environ for name in STARTED))


def launch(words: Sequence[str], settings: TrainerSettings) -> Outcome:
    """Run ``python -m apo_lightning`` with ``words`` once a device of this machine, until all have ended.

    Raises:
        Stopped: SIGINT, SIGTERM or SIGHUP; all processes have ended.
    """
    return watch([sys.executable, *_apart(), "-m", "apo_lightning", *words], settings.devices, settings.num_nodes)


def _apart() -> list[str]:
    """``-P``, unless this process itself imports from the working folder: ``-m`` would look there first, and take a
    folder ``callbacks`` of a user's project for ours."""
    return [] if {os.getcwd(), ""} & set(sys.path[:1]) else ["-P"]


def watch(command: Sequence[str], count: int, nodes: int = 1) -> Outcome:
    """Run ``command`` in ``count`` processes. One that fails or is killed ends the others. See `launch`."""
    signals: list[int] = []
    with _caught(signals):
        members = _start(command, count, nodes)
        try:
            left = SUSPENDED
            while not signals and not any(map(_failed, members)) and any(m.alive for m in members) and left > 0:
                time.sleep(PERIOD)  # counted, not measured: where all are suspended, this one is too
                left = left - PERIOD if suspended(members) else SUSPENDED
            outcome = _outcome(members)
        finally:
            _end(members)
    if signals:
        raise Stopped(signals[0])
    return outcome


def beside(words: Sequence[str], count: int) -> list[Outcome]:
    """Run ``python -m apo_lightning`` with ``words`` in ``count`` processes that are no ranks of one run: one that
    fails or is killed leaves the others at their work.

    Returns:
        how each of them ended.

    Raises:
        Stopped: SIGINT, SIGTERM or SIGHUP; all processes have ended.
    """
    signals: list[int] = []
    members: list[Member] = []
    with _caught(signals):
        try:
            for place in range(1, count + 1):
                command = [sys.executable, *_apart(), "-m", "apo_lightning", *words]
                members.append(Member(command, f"worker {place} of {count}", {}))
            while not signals and any([each.alive for each in members if not each.listen()]):
                time.sleep(PERIOD)
            outcomes = [_outcome([each]) for each in members]
        finally:
            _end(members)
    if signals:
        raise Stopped(signals[0])
    return outcomes


class Member:
    """One process of a run, with the pipe through which it tells of its error."""

    def __init__(self, command: Sequence[str], place: str, environment: dict[str, str]) -> None:
        self.place, (self.pipe, theirs) = place, os.pipe()
        os.set_blocking(self.pipe, False)
        own = {LAUNCHER: str(os.getpid()), REPORT: str(theirs)}
        try:
            self.process = subprocess.Popen(
                command, env=os.environ | environment | own, pass_fds=(theirs,), start_new_session=True
            )  # a session of its own: Ctrl-C reaches the launcher alone, and all that it starts can be ended with it
        finally:
            os.close(theirs)
        self.said: bytes = b""
        self.report: dict[str, Any] = {}

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def listen(self) -> dict[str, Any]:
        """Its error, once it has told all of it."""
        with suppress(BlockingIOError):
            self.said += os.read(self.pipe, 1 << 16)
        if self.said.endswith(b"}\n"):
            self.report = json.loads(self.said.strip().split(b"\n")[0])  # an interrupt may follow an error
        return self.report

    def stop(self) -> None:
        """As Ctrl-C would, once it is ready for that; before, it would only print where an import was."""
        self.listen()
        self.process.send_signal(signal.SIGINT if self.said else signal.SIGTERM)


def _start(command: Sequence[str], count: int, nodes: int) -> list[Member]:
    """Under the names that Lightning, torch and torchrun agree on. Several nodes need MASTER_ADDR and MASTER_PORT, the
    same on all, and NODE_RANK."""
    node = int(os.environ.get("NODE_RANK", 0))
    shared = {
        "NODE_RANK": str(node),
        "WORLD_SIZE": str(count * nodes),
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(_free_port()),
    }
    members: list[Member] = []
    try:
        for local in range(count):
            rank = node * count + local
            own = {"LOCAL_RANK": str(local), "RANK": str(rank)}
            members.append(Member(command, f"process {rank + 1} of {count * nodes}", shared | own))
    except BaseException:
        _end(members)
        raise
    return members


def _free_port() -> int:
    """Below those that a system gives to outgoing connections: the processes listen there only some seconds later."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ConfigError("No free port between 20000 and 32000. Name one in the environment: MASTER_PORT.")


@contextmanager
def _caught(signals: list[int]) -> Iterator[None]:
    """Note signals instead of dying of them; those that are ignored (nohup) stay ignored."""
    before = {s: signal.getsignal(s) for s in STOPS if signal.getsignal(s) is not signal.SIG_IGN}
    for signum in before:
        signal.signal(signum, lambda number, _: signals.append(number))
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _failed(member_: Member) -> bool:
    return bool(member_.listen()) or (member_.process.poll() or 0) != 0


def _outcome(members: Sequence[Member]) -> Outcome:
    """The first cause: who ended without a word comes before who told of an error or an interrupt, the earliest first,
    since the others fail for want of it."""
    failed = sorted(filter(_failed, members), key=_order)
    if not failed:
        return _suspension(suspended(members))
    first, report = failed[0], failed[0].report
    if "message" in report:
        return Outcome(report["status"], report["message"], report["trace"])
    code = -report["signal"] if report else first.process.returncode
    who = f"{first.place} (pid {first.process.pid})"
    if code >= 0:
        return Outcome(1, f"{who} ended with status {code} and said nothing.")
    killed = signal.Signals(-code).name
    hint = " A system that runs out of memory does that; its log says so." if killed == "SIGKILL" else ""
    return Outcome(1, f"{who} was ended by {killed}.{hint} The same command continues where it stopped.")


def _suspension(stopped: Sequence[Member]) -> Outcome:
    if not stopped:
        return Outcome()
    who = f"{stopped[0].place} (pid {stopped[0].process.pid})"
    return Outcome(
        1,
        f"{who} was suspended (SIGSTOP) for {SUSPENDED:.0f} s, in which the others could only wait for it. All were "
        "ended. The same command continues where it stopped.",
    )


def suspended(members: Sequence[Member]) -> list[Member]:
    """Processes that are suspended while others are not; none where all are, which is a pause that somebody wants."""
    living = [each for each in members if each.alive]
    stopped = [each for each in living if _is_stopped(each.process.pid)]
    return stopped if len(stopped) < len(living) else []


def _is_stopped(pid: int) -> bool:
    with suppress(psutil.Error):
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False


def _order(member_: Member) -> tuple[bool, float]:
    silent = bool(member_.process.poll()) and not member_.listen()  # in this order: it tells before it ends
    return not silent, member_.report.get("time", float("inf"))


def _end(members: Sequence[Member]) -> None:
    """Ask every process to end, and where one did not end well, kill what is left of it and of what it started."""
    for each in members:
        if each.alive:
            each.stop()
    deadline = time.monotonic() + GRACE
    while any(each.alive for each in members) and time.monotonic() < deadline:
        time.sleep(PERIOD)
    for each in members:
        if each.process.poll() != 0:
            with suppress(ProcessLookupError, PermissionError):  # nobody of its session is left
                os.killpg(each.process.pid, signal.SIGKILL)
    for each in members:
        with suppress(subprocess.TimeoutExpired):  # a driver may keep a dead process for a while
            each.process.wait(GRACE)
        os.close(each.pipe)
