"""The command line: parse, call, print. Nothing is decided here."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from apo_lightning import __version__, signals
from apo_lightning.cli import (
    ask,
    audit,
    collect,
    compare,
    data,
    drift,
    export,
    init,
    listing,
    plan,
    store,
    study,
    sweep,
)
from apo_lightning.cli.check import check
from apo_lightning.cli.words import expanded
from apo_lightning.collecting.secrets import masked
from apo_lightning.console import Console, make_safe, print_hanging, show_error
from apo_lightning.errors import ApoError, ArtifactError
from apo_lightning.experiment import membership, noise, processes
from apo_lightning.files import disk
from apo_lightning.files.characters import visible

if TYPE_CHECKING:
    pass


WRITTEN = ("report.md", "report.csv", "report.tex", "table.tex")
"""Files of a report besides its page."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit status: 0, 2 after an error the user can mend, 128 and the number of the signal
    that stopped it (130 after Ctrl-C)."""
    if arguments is None:
        sys.argv[1:] = expanded(sys.argv[1:])  # what a run records as its command
    options = _parsed(arguments)
    make_safe()
    noise.quiet_notes()
    try:
        with membership.member() if membership.is_member() else signals.raised():
            return options.call(options) or 0
    except BaseException as error:
        if signum := signals.behind(error):
            return _stopped(signum)
        if isinstance(error, Exception) and (sentence := _sentence(error)):
            show_error(sentence)
            return 2
        if isinstance(error, Exception) and not getattr(error, "__notes__", None):
            said = masked(" ".join(arguments or sys.argv[1:]))
            error.add_note(
                f"This happened in 'apo {said}' and is not yours to mend: please report it with the lines above."
            )
        raise


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command with its arguments; settings may stand before, between and behind options."""
    top = parser()
    options, left = top.parse_known_args(arguments)
    if any(word.startswith("-") or "=" not in word for word in left) or (left and not hasattr(options, "overrides")):
        top.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        options.overrides = [*options.overrides, *left]
    return options


def _stopped(signum: int) -> int:
    if not membership.is_member():
        with suppress(OSError):  # the terminal may be what is gone
            Console(stderr=True).print("\nstopped. The same command continues where it stopped.", style="yellow")
    return 128 + signum


def _sentence(error: Exception) -> str | None:
    """What the user can mend; None where nobody foresaw it."""
    if isinstance(error, ApoError):
        return masked(str(error))
    sentence = disk.explain(error)
    if sentence:
        logging.raiseExceptions = False  # other libraries' loggers, which write files too
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    return sentence


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(prog="apo", description="Distil one vision-language student from several teachers.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    one = _command(commands, "run", run, "run an experiment, or go on with it")
    one.add_argument("experiment", help="a name under experiments/, or a file")
    _add_overrides(one)
    check_ = _command(commands, "check", check, "load and build experiments without training")
    check_.add_argument(
        "words",
        nargs="*",
        metavar="EXPERIMENT|PATH|key=value",
        help=("an experiment with its settings: would it run here? Or files and folders (default: experiments)"),
    )
    listing.add(commands, _command)
    sweep.add(commands, _command)
    again = _command(commands, "report", report, "write the report of a run again, or of several side by side")
    again.add_argument(
        "folders",
        nargs="*",
        metavar="RUN",
        help=(
            "run folders, or names under runs/ (default: the newest there); several make one page, under "
            "<runs>/comparisons/"
        ),
    )
    view = _command(commands, "dashboard", dashboard, "save a view of a W&B project that explains itself")
    view.add_argument("entity", help="your W&B user or team")
    view.add_argument(
        "project", nargs="?", default="apo-lightning", help="as wandb.project says (default: %(default)s)"
    )
    collect.add(commands, _command)
    compare.add(commands, _command)
    data.add(commands, _command)
    audit.add(commands, _command)
    drift.add(commands, _command)
    store.add(commands, _command)
    study.add(commands, _command)
    plan.add(commands, _command)
    ask.add(commands, _command)
    export.add(commands, _command)
    init.add(commands, _command)
    return top


def run(options: argparse.Namespace) -> int:
    """``apo run EXPERIMENT [key=value ...]``, in as many processes as it asks for."""
    from apo_lightning import config

    cfg = config.load(config.find(options.experiment), options.overrides)  # a mistake shows before the slow imports
    if processes.wanted(cfg.trainer):
        return show_outcome(processes.launch(["run", options.experiment, *options.overrides], cfg.trainer))
    from apo_lightning.experiment import run as runner

    runner.run(cfg)
    return 0


def report(options: argparse.Namespace) -> None:
    """``apo report [RUN ...]``: the newest run, one, or several side by side."""
    from apo_lightning import reports

    named = [compare.run_folder(word) for word in options.folders] or [newest_run(Path("runs"))]
    folders = list({path.resolve(): path for path in named}.values())
    written = reports.write(folders[0]) if len(folders) == 1 else reports.write_several(folders)
    console = Console(highlight=False)
    console.print(f"report: {visible(str(written))}", markup=False, soft_wrap=True)
    if beside := _beside(written):
        print_hanging(console, "beside it: ", ", ".join(beside))


def _beside(report: Path) -> list[str]:
    """What else was written, in the folder of the report."""
    found = [name for name in WRITTEN if (report.parent / name).is_file()]
    drawn = sum(1 for _ in report.parent.glob("figures/*.png"))
    return [*found, *([f"figures/ ({drawn})"] if drawn else [])]


def dashboard(options: argparse.Namespace) -> None:
    """``apo dashboard ENTITY [PROJECT]``."""
    from apo_lightning.reports import dashboard as view

    address = view.save(options.entity, options.project)
    Console().print(f"dashboard: {visible(address)}", markup=False, highlight=False, soft_wrap=True)


def newest_run(runs: Path) -> Path:
    """The run folder whose results were written last.

    Raises:
        ArtifactError: no run has finished.
    """
    finished = sorted(runs.glob("*/results.csv"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise ArtifactError(f"No finished run in {runs}/. Start one: make experiment EXP=smoke.")
    return finished[-1].parent


def show_outcome(outcome: processes.Outcome) -> int:
    """What several processes failed of, once. Returns their exit status."""
    if outcome.trace:
        print(visible(outcome.trace), end="", file=sys.stderr)
    elif outcome.status:
        show_error(outcome.message)
    return outcome.status


def _command(commands: argparse._SubParsersAction, name: str, call: Callable, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(call=call)
    return command


def _add_overrides(command: argparse.ArgumentParser) -> None:
    command.add_argument("overrides", nargs="*", metavar="key=value", help="settings laid over the experiment")
