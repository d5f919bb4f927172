"""``apo compare``: what differs between runs, in settings, measures and answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from apo_lightning.console import Console
from apo_lightning.errors import ArtifactError, ConfigError, did_you_mean

RUNS = Path("runs")
TOP = 5


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``compare`` to the command line."""
    what = "compare runs: settings that differ, paired differences, answers that changed"
    own = command(commands, "compare", compare, what)
    own.add_argument("folders", nargs="+", metavar="RUN", help="run folders, or names under runs/: two or more")
    own.add_argument("--arm", action="append", default=[], metavar="NAME", help="this arm only (may be given again)")
    own.add_argument("--out", type=Path, metavar="FOLDER", help="where it goes (default: <runs>/comparisons/<names>)")
    own.add_argument("--top", type=int, default=TOP, metavar="N", help="changed answers that are printed (%(default)s)")


def compare(options: argparse.Namespace) -> None:
    """``apo compare RUN RUN ... [--arm NAME] [--out FOLDER] [--top N]``."""
    from apo_lightning.reports import compared, compared_terminal

    if options.top < 0:
        raise ConfigError(f"--top must be 0 or more, got {options.top}.")
    folders = list({path.resolve(): path for path in map(run_folder, options.folders)}.values())
    found = compared.read(folders, options.arm)
    written = compared.write(found, options.out)
    console = Console(highlight=False)
    compared_terminal.show(found, console, options.top)
    console.print(f"comparison: {written}", markup=False, soft_wrap=True)
    beside = [name for name in compared.FILES if name != written.name and (written.parent / name).is_file()]
    console.print(f"beside it: {', '.join(beside)}", markup=False)


def run_folder(word: str, runs: Path = RUNS) -> Path:
    """The run that is meant: a folder, or the name of one under ``runs``.

    Raises:
        ArtifactError: neither; names those that are there.
    """
    place = next((path for path in (Path(word), runs / word) if path.is_dir()), None)
    if place is None:
        known = sorted(path.parent.name for path in runs.glob("*/results.csv"))
        raise ArtifactError(f"{word} is no folder, and {runs}/ has no run of that name. {did_you_mean(word, known)}")
    return place
