"""What a trial prints goes into its log: of this process, of the libraries it uses, and of what it starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

STREAMS = (1, 2)
"""Standard output and error, as the operating system counts them."""


@contextmanager
def captured(path: Path, head: str) -> Iterator[None]:
    """Inside, both streams are written behind what ``path`` holds, a line ``head`` first."""
    with ExitStack() as after, path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        log.write(f"== {head}\n")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in STREAMS:
            after.callback(_back, os.dup(number), number)
            os.dup2(log.fileno(), number)
        after.enter_context(redirect_stdout(log))
        after.enter_context(redirect_stderr(log))
        yield


def _back(kept: int, number: int) -> None:
    with suppress(OSError):  # a terminal that is gone
        os.dup2(kept, number)
    os.close(kept)
