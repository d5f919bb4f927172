"""``apo init``: a project to begin with, in a folder of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from apo_lightning.console import Console
from apo_lightning.errors import ConfigError
from apo_lightning.files.characters import visible


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``init`` to the command line."""
    own = command(commands, "init", init, "begin a project: an experiment, a loss and a data set of your own")
    own.add_argument("folder", type=Path, help="a new or an empty folder; with the three below any")
    own.add_argument("--images", type=Path, metavar="DIR", help="the folder that your images lie in")
    own.add_argument("--labels", type=Path, metavar="FILE", help="your table: image, perhaps patient, findings")
    own.add_argument("--texts", type=Path, metavar="FILE", help="what teachers wrote about the images")


def init(options: argparse.Namespace) -> None:
    """``apo init FOLDER [--images DIR --labels FILE --texts FILE]``."""
    from apo_lightning import starter

    given = {word: getattr(options, word) for word in ("images", "labels", "texts")}
    if any(given.values()):
        _own(options.folder, given)
        return
    written = starter.write(options.folder)
    console, here = Console(highlight=False, soft_wrap=True), Path.cwd() == options.folder.resolve()
    for path in written:
        console.print(f"  {visible(str(path))}", markup=False)
    then = "make run" if here else f"cd {visible(str(options.folder))} && make run"
    console.print(f"next, with the environment active (source .venv/bin/activate): {then}", markup=False)


def _own(folder: Path, given: dict[str, Path | None]) -> None:
    """
    Raises:
        ConfigError: one of the three is not given.
    """
    from apo_lightning.starter import own

    if lacking := [f"--{word}" for word, path in given.items() if path is None]:
        raise ConfigError(f"apo init takes --images, --labels and --texts together; {', '.join(lacking)} is not given.")
    written, lines = own.write(folder, **given)
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(f"  {visible(line)}", markup=False)
    console.print(f"written: {visible(str(written))}", markup=False)
    here = Path.cwd() == folder.resolve()
    then = f"apo check {own.NAME} && apo run {own.NAME}"
    console.print(f"next: {then}" if here else f"next: cd {visible(str(folder))} && {then}", markup=False)
