"""``apo study``: an experiment in several worlds, where every arm is tuned with an equal number of trials."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from apo_lightning.config import find

STEPS = ("search", "final", "table")


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``study`` to the command line."""
    own = command(commands, "study", study, "tune every arm with an equal budget in every world, then measure the best")
    own.add_argument("file", help="a file under experiments/study/, or its name")
    own.add_argument(
        "--world", action="append", default=[], metavar="NAME", help="run this one's part alone (may be given again)"
    )
    own.add_argument("--only", choices=STEPS, help="search the trials, measure those chosen, or write the tables")
    own.add_argument("overrides", nargs="*", metavar="key=value", help="settings laid over the experiment everywhere")


def study(options: argparse.Namespace) -> None:
    """``apo study FILE [--world NAME] [--only search|final|table] [key=value ...]``."""
    from apo_lightning.experiment.study import file, run

    run.study(find(options.file, file.FOLDER), options.overrides, options.world, options.only)
