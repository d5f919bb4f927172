"""Running coroutines from code that is none, also where a loop runs already, as in every notebook."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from apo_lightning.signals import Stopped

T = TypeVar("T")


def end(signum: int) -> None:
    """
    Raises:
        Stopped: always.
    """
    raise Stopped(signum)


def run(work: Coroutine[Any, Any, T], hear: Callable[[int], None] = end) -> T:
    """What ``work`` returns. A loop of its own runs it: in this thread, or in another one where this one has a loop,
    which stands still until all is done.

    Args:
        hear: called in the other thread's loop with the number of a signal that came to this one; what it raises ends
            the work. In this thread signals are the work's own affair.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    loops: list[asyncio.AbstractEventLoop] = []

    async def known() -> T:
        loops.append(asyncio.get_running_loop())
        return await work

    with ThreadPoolExecutor(1, "asking") as pool:
        ended = pool.submit(asyncio.run, known())
        while True:
            try:
                return ended.result()
            except KeyboardInterrupt as error:
                _pass_on(error, ended, loops, hear)


def _pass_on(
    error: KeyboardInterrupt, ended: Future[T], loops: list[asyncio.AbstractEventLoop], hear: Callable[[int], None]
) -> None:
    """
    Raises:
        KeyboardInterrupt: ``error``, where it came out of the work, or before that began.
    """
    if ended.done() or ended.cancel() or not loops:
        raise error
    loops[0].call_soon_threadsafe(hear, getattr(error, "signum", signal.SIGINT))
