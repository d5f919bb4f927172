"""What ends a run from outside: Ctrl-C, a scheduler's SIGTERM, a closed terminal. All three raise where the run is.

Left alone, Python dies of SIGTERM without a word, and Lightning lets a fit end as if it had succeeded, and a prediction
not end at all.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 5.0
"""Seconds after a signal in which further ones are not heard: the run is ending. Later ones raise, since the first
may have been lost where no exception gets out."""
AGAIN = 0.05
"""Seconds after which a signal that was lost in a ``__del__`` comes again."""
_heard: list[float] = []


class Stopped(KeyboardInterrupt):
    """A signal ended the run; ``signum`` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


@contextmanager
def raised(*, to_the_end: bool = False) -> Iterator[None]:
    """Inside, each of ``STOPS`` raises `Stopped` in the main thread. Those that are ignored (nohup, a shell's
    background) stay ignored. In another thread than the main one nothing is changed: Python allows it there alone.

    Args:
        to_the_end: behind it the process ends, and no signal interrupts its end.

    Raises:
        Stopped: a signal came.
    """
    here = threading.current_thread() is threading.main_thread()
    before = {s: signal.getsignal(s) for s in STOPS if here and signal.getsignal(s) is not signal.SIG_IGN}
    if _stop not in before.values():
        _heard.clear()
    for signum in before:
        signal.signal(signum, _stop)
    try:
        with not_lost():
            yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_IGN if to_the_end else handler)


@contextmanager
def not_lost() -> Iterator[None]:
    """Inside, a signal that comes in a ``__del__`` or a callback from C, where Python prints an exception and goes on,
    is not printed and comes again."""
    before = sys.unraisablehook

    def again(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            return before(lost)
        _heard.clear()
        # from another thread, and later: raised at once it would be lost in this hook
        timer = threading.Timer(AGAIN, signal.raise_signal, (getattr(lost.exc_value, "signum", signal.SIGINT),))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def unheard() -> Iterator[None]:
    """What is started inside ignores Ctrl-C and a closed terminal, which reach every process of a terminal: its parent
    ends it. Python's own server of processes would die of them with a traceback while it is still importing."""
    here = threading.current_thread() is threading.main_thread()
    before = {s: signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGHUP) if here}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def behind(error: BaseException | None) -> int:
    """Number of the signal that ``error`` follows from, 0 where it follows from none. Lightning turns an interrupt into
    an exit, and what is torn down in the middle of something may fail in its own way."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return getattr(error, "signum", signal.SIGINT)
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return 0


def _stop(signum: int, frame: FrameType | None) -> None:
    if _heard and time.monotonic() - _heard[0] < GRACE:
        return
    _heard[:] = [time.monotonic()]
    raise Stopped(signum)
