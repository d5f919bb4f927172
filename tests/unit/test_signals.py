"""Signals to a whole process: several in a row, in its imports, and while it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from apo_lightning import signals
from tests.pipeline.conftest import ROOT

SLOW = """
import signal, sys, time, types
for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
from apo_lightning import __main__, cli
{patch}
sys.exit(__main__.entry())
"""
WORK = """
def main():
    from apo_lightning import signals
    try:
        with signals.raised():
            print("ready", flush=True)
            time.sleep(30)
    except signals.Stopped as stop:
        print("ending", flush=True)
        time.sleep(1)  # what a run tears down
        return 128 + stop.signum
cli.commands.main = main
import atexit; atexit.register(time.sleep, 1)
"""
IMPORTS = """
class Slow:
    def __getattr__(self, name):
        if name != "main":
            raise AttributeError(name)
        print("ready", flush=True)
        time.sleep(30)
sys.modules["apo_lightning.cli.commands"] = Slow()
"""


def start(patch: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(patch=patch)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_further_signals_do_not_change_how_a_process_ends(first: signal.Signals) -> None:
    """Schedulers and users send several. The first counts, also while what it ended is torn down."""
    process = start(WORK)
    process.send_signal(first)
    assert process.stdout.readline() == "ending\n"
    while process.poll() is None:
        for signum in signals.STOPS:
            process.send_signal(signum)
        time.sleep(0.05)
    assert (process.returncode, process.stderr.read()) == (128 + first, "")


def test_a_signal_in_the_imports_has_its_status_and_no_traceback() -> None:
    process = start(IMPORTS)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr.read() == "\nstopped. Nothing had begun.\n"


def test_a_signal_that_got_lost_can_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.0)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        for _ in range(2):
            with pytest.raises(signals.Stopped) as caught, signals.raised():
                os.kill(os.getpid(), signal.SIGTERM)
            assert caught.value.signum == signal.SIGTERM
        with pytest.raises(signals.Stopped), signals.raised():
            with pytest.raises(signals.Stopped):
                os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


class Deaf:
    """No exception leaves a ``__del__``."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work

    def __del__(self) -> None:
        self.work()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_a_finaliser_ends_the_run_and_is_not_printed(
    signum: signal.Signals, capsys: pytest.CaptureFixture
) -> None:
    deaf = Deaf(lambda: os.kill(os.getpid(), signum))
    before = signal.signal(signum, signal.SIG_DFL)  # a shell's background ignores Ctrl-C
    try:
        with pytest.raises(signals.Stopped) as caught, signals.raised():
            del deaf
            time.sleep(5)
            raise AssertionError("the signal was lost")
    finally:
        signal.signal(signum, before)
    assert caught.value.signum == signum
    assert capsys.readouterr().err == ""


def test_another_error_in_a_finaliser_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: told.append(str(lost.exc_value)))
    deaf = Deaf(lambda: int("x"))
    with signals.raised():
        del deaf
    assert told == ["invalid literal for int() with base 10: 'x'"]


def test_what_is_started_unheard_ignores_ctrl_c() -> None:
    """Under a shell's ``&`` the signal is ignored from the start, which is no answer to what is asked here."""
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with signals.unheard():
            said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert said.split() == ["True"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
