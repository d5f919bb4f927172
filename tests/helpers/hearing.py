"""Signals that are heard, also where the tests run under nohup or in the background of a shell, which ignore some."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard(signum: signal.Signals) -> Iterator[None]:
    """Inside, this process and what it starts hear a signal."""
    before = signal.signal(signum, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signum, before)
