"""``apo sweep``: a W&B sweep file without an account."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from apo_lightning import config


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``sweep`` to the command line."""
    own = command(commands, "sweep", sweep, "run a W&B sweep file here, without an account, or go on with it")
    own.add_argument("file", help="a file under experiments/sweeps/, or its name")
    own.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes that run trials at the same time (default: 1)"
    )
    own.add_argument("--trials", type=_count, metavar="N", help="how many (default: all of a grid, else run_cap)")
    own.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    own.add_argument("overrides", nargs="*", metavar="key=value", help="settings laid over the experiment")


def sweep(options: argparse.Namespace) -> None:
    """``apo sweep FILE [--workers N] [--trials N] [key=value ...]``."""
    file = config.find(options.file, config.EXPERIMENTS / "sweeps")  # a mistake shows before the slow imports
    from apo_lightning.experiment.sweeps import run

    if options.worker:
        run.join(file, options.overrides, options.trials)
    else:
        run.sweep(file, options.overrides, options.trials, options.workers)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1, got '{text}'")
    return int(text)
