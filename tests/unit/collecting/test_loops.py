"""Asking from where a loop runs already: a notebook, or a test beside a browser."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apo_lightning import signals
from apo_lightning.collecting import loops
from tests.helpers.faulty_server import Faulty, served
from tests.helpers.hearing import heard
from tests.unit.collecting.test_asking import Asked


@pytest.fixture(autouse=True)
def no_loop() -> Iterator[None]:
    """A browser's tests in the same process leave a loop that runs."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(before)


async def _where(seconds: float = 0.0) -> threading.Thread:
    await asyncio.sleep(seconds)
    return threading.current_thread()


def _inside(work: object) -> object:
    """What ``work`` returns, called where a loop runs."""

    async def cell() -> object:
        return work()

    return asyncio.run(cell())


def test_work_is_done_here_and_beside_a_loop_that_runs() -> None:
    assert loops.run(_where()) is threading.current_thread()
    assert _inside(lambda: loops.run(_where())) is not threading.current_thread()


def test_what_the_work_raises_is_raised_here() -> None:
    async def fails() -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        _inside(lambda: loops.run(fails()))


def test_a_signal_ends_work_that_does_not_listen() -> None:
    def work() -> object:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return loops.run(_where(30.0))

    began = time.monotonic()
    with signals.raised(), pytest.raises(signals.Stopped) as error:
        _inside(work)
    assert error.value.signum == signal.SIGTERM and time.monotonic() - began < 10


def test_all_is_asked_from_a_cell_of_a_notebook(tmp_path: Path) -> None:
    ask = Asked(tmp_path)
    with served(Faulty()) as url:
        _inside(lambda: ask(url))
    assert len(ask.answers) == 12


def test_a_signal_in_a_cell_waits_for_what_is_under_way(tmp_path: Path) -> None:
    ask, own = Asked(tmp_path), Faulty(delay=0.3)
    own.before = lambda name: os.kill(os.getpid(), signal.SIGINT) if own.requests == 2 else None
    with served(own) as url, heard(signal.SIGINT), signals.raised():
        outcome = _inside(lambda: ask(url, concurrency=3))
    assert ask.signum == signal.SIGINT and outcome.ended == "it was stopped"
    assert 2 <= len(ask.answers) == sum(own.given.values()) == own.requests <= 3
