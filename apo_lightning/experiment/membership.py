"""What a process of a run does for the launcher that started it (`experiment.processes`): it tells its error, and ends
with it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from apo_lightning import signals
from apo_lightning.errors import ApoError

LAUNCHER, REPORT = "APO_LAUNCHER_PID", "APO_REPORT_FD"
"""Variables of the environment that name the launcher, and where it listens."""
READY = b"\n"
"""What a process says first."""
LONGEST = 8_000
"""Characters of an error's text, and of its traceback: both fit into a pipe, whose writer then need not wait."""


def is_member() -> bool:
    """True in a process that `launch` started: the launcher speaks for it."""
    return REPORT in os.environ


@contextmanager
def member() -> Iterator[None]:
    """Around all that a process does. Where `launch` started it, an error is handed to the launcher, which says the
    first one once, and the process ends when its launcher is gone. Elsewhere nothing is done.

    Raises:
        SystemExit: in a process of a launcher, instead of any error.
    """
    if not is_member():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it starts in the background
    threading.Thread(target=_follow, args=(int(os.environ[LAUNCHER]),), daemon=True).start()
    try:  # from READY on the launcher may interrupt anything, the telling of an error too
        os.write(int(os.environ[REPORT]), READY)
        try:
            with signals.not_lost():
                yield
        except Exception as error:
            _report(error)
            raise SystemExit(1) from None
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _write({"time": time.time(), "signal": signal.SIGINT})  # before it ends, which the others fail of
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already; an interrupted end prints a traceback


def _report(error: Exception) -> None:
    foreseen = isinstance(error, ApoError)
    row = {
        "time": time.time(),
        "status": 2 if foreseen else 1,
        "message": (str(error) if foreseen else f"{type(error).__name__}: {error}")[:LONGEST],
        "trace": "" if foreseen else "".join(traceback.format_exception(error))[-LONGEST:],
    }
    _write(row)


def _write(row: dict[str, Any]) -> None:
    line = (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    with suppress(BrokenPipeError):  # the launcher is gone, and the process ends with what it was about to tell
        os.write(int(os.environ[REPORT]), line)


def _follow(launcher: int) -> None:
    """End with the launcher: killed, it can tell nobody."""
    while os.getppid() == launcher:
        time.sleep(1)
    os.killpg(os.getpgid(0), signal.SIGKILL)
