"""``apo init``: a project to begin with, in a folder of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from apo_lightning.console import Console
from apo_lightning.files.characters import visible


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``init`` to the command line."""
    own = command(commands, "init", init, "begin a project: an experiment, a loss and a data set of your own")
    own.add_argument("folder", type=Path, help="a new or an empty folder")


def init(options: argparse.Namespace) -> None:
    """``apo init FOLDER``."""
    from apo_lightning import starter

    written = starter.write(options.folder)
    console, here = Console(highlight=False, soft_wrap=True), Path.cwd() == options.folder.resolve()
    for path in written:
        console.print(f"  {visible(str(path))}", markup=False)
    then = "make run" if here else f"cd {visible(str(options.folder))} && make run"
    console.print(f"next, with the environment active (source .venv/bin/activate): {then}", markup=False)
