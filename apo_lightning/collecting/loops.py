"""Running coroutines from code that is none, also where a loop runs already, as in every notebook."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
    loop = asyncio.new_event_loop()

    def there() -> T:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(work)

    with ThreadPoolExecutor(1, "asking") as pool:
        ended = pool.submit(there)
        while True:
            try:
                return ended.result()
            except KeyboardInterrupt as error:
                if ended.done():
                    raise  # it came out of the work
                with suppress(RuntimeError):  # the loop was closed just now
                    loop.call_soon_threadsafe(hear, getattr(error, "signum", signal.SIGINT))
