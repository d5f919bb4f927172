"""``apo store``: what stages and caches are stored, whether they are whole, and taking away what nobody needs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from apo_lightning.console import Console, show_error
from apo_lightning.errors import ConfigError
from apo_lightning.files.disk import size_text

if TYPE_CHECKING:
    from apo_lightning.experiment.store import Item

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
SHOWN = 3
"""Places that a table names of those that show a stage."""


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``store`` to the command line."""
    look = command(commands, "store", store, "list, check or prune the stages and caches that runs share")
    look.add_argument(
        "what",
        nargs="?",
        choices=("list", "check", "prune"),
        default="list",
        help=("list them (default), read all of them and say what is damaged, or take some away"),
    )
    look.add_argument("--unlinked", action="store_true", help="only finished stages that no run shows")
    look.add_argument(
        "--stale",
        action="store_true",
        help=("only stages that today's source, or another version of a library, would make otherwise"),
    )
    look.add_argument("--unfinished", action="store_true", help="only stages that were interrupted")
    look.add_argument("--older", metavar="DAYS", help="only what was made more days ago")
    look.add_argument("--larger", metavar="SIZE", help="only what takes more: 500MB, 2GB")
    look.add_argument("--runs-dir", type=Path, default=Path("runs"), metavar="FOLDER", help="default: %(default)s")
    look.add_argument("--dry-run", action="store_true", help="say what prune would take away (the default)")
    look.add_argument("--yes", action="store_true", help="let prune take it away")


def store(options: argparse.Namespace) -> int:
    """``apo store [list|check|prune] [--unlinked] [--stale] [--unfinished] [--older DAYS] [--larger SIZE]``."""
    from apo_lightning.experiment.store import Wanted, items

    wanted = Wanted(options.unlinked, options.stale, options.unfinished, _days(options.older), _bytes(options.larger))
    _require(options, wanted == Wanted())
    everything = items(options.runs_dir)
    chosen = [item for item in everything if wanted.takes(item)]
    if options.what == "check":
        return check(chosen)
    if options.what == "prune":
        prune(chosen, everything, options.runs_dir, sure=options.yes)
    else:
        show(chosen, options.runs_dir, whole=len(chosen) == len(everything))
    return 0


def _require(options: argparse.Namespace, is_all: bool) -> None:
    """
    Raises:
        ConfigError: prune is to take everything, or what belongs to prune is given to another.
    """
    if options.what != "prune" and (options.yes or options.dry_run):
        raise ConfigError(f"--{'yes' if options.yes else 'dry-run'} belongs to prune: apo store prune ...")
    if options.yes and options.dry_run:
        raise ConfigError("--yes takes away and --dry-run does not. Give one of them.")
    if options.what == "prune" and is_all:
        raise ConfigError(
            "prune takes what is named: --unlinked, --stale, --unfinished, --older DAYS, --larger SIZE; with several, "
            "what is all of them. The whole store goes with rm -r."
        )


def show(items: Sequence[Item], runs: Path, *, whole: bool = True) -> None:
    """A table of stages, one of caches, and what lies beside them."""
    from apo_lightning.experiment.store import lost_links

    _print_tables(items)
    console, lost = Console(highlight=False), lost_links(runs) if whole else []
    stale = sum(bool(item.edited or item.versions) for item in items)
    unlinked = sum(item.finished and not item.links and not item.is_cache for item in items)
    _say(f"{_count(items)} in {runs / 'store'}, {size_text(_sum(items))}: {unlinked} unlinked, {stale} stale")
    if lost:
        console.print(f"{len(lost)} links of runs lead nowhere, first {lost[0]}", style="yellow", soft_wrap=True)


def check(items: Sequence[Item]) -> int:
    """Read everything anew; each damaged item with the command that removes it. Returns the exit status."""
    from apo_lightning.experiment.upkeep import damage

    told = [said for item in items if (said := damage(item))]
    for said in told:
        show_error(said)
    open_ended = sum(not item.finished for item in items)
    left = f" {open_ended} unfinished, which have no hashes yet." if open_ended else ""
    _say(f"{_count(items)}, {size_text(_sum(items))}: {f'{len(told)} damaged' if told else 'all whole'}.{left}")
    return 2 if told else 0


def prune(gone: Sequence[Item], everything: Sequence[Item], runs: Path, *, sure: bool) -> None:
    """Say what goes and what it frees; take it away where that is ``sure``."""
    from apo_lightning.experiment.upkeep import finish, spared, take_away

    kept = spared(gone, everything)
    for item in gone:
        if item.path in kept:
            _say(f"kept: {item.path.name}, {kept[item.path]}")
    going = [item for item in gone if item.path not in kept]
    _print_tables(going)
    if not sure:
        _say(
            f"{_count(going)} would go and free {size_text(_sum(going))} of {size_text(_sum(everything))}."
            f"{' Nothing was taken away: add --yes.' if going else ''}"
        )
        return
    finish(runs / "store")
    taken = [item for item in going if take_away(item)]
    for item in (item for item in going if item not in taken):
        _say(f"kept: {item.path.name}, which a run has begun to use")
    _say(f"{_count(taken)} taken away, {size_text(_sum(taken))} freed of {size_text(_sum(everything))}.")
    if shown := sorted({place for item in taken for place in item.links}):
        _say(f"Their arms are left out of tables until they are run again: {_some(shown)}.")


def _print_tables(items: Sequence[Item]) -> None:
    for title, own in (
        ("stages", [item for item in items if not item.is_cache]),
        ("caches", [item for item in items if item.is_cache]),
    ):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("name", "key", "made", "size", *(("shown by",) if title == "stages" else ()), ""):
            whole = name in ("key", "made", "size")
            table.add_column(name, justify="right" if name == "size" else "left", no_wrap=whole, overflow="fold")
        for item in own:
            table.add_row(*map(Text, _cells(item)))
        if own:
            Console(highlight=False).print(table)


def _cells(item: Item) -> tuple[str, ...]:
    made = datetime.fromtimestamp(item.made).isoformat(" ", "minutes")
    shown = () if item.is_cache else (_some(item.links) or "nobody",)
    return item.name, item.key[:12], made, size_text(item.size), *shown, item.state


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _count(items: Sequence[Item]) -> str:
    caches = sum(item.is_cache for item in items)
    stages = len(items) - caches
    return f"{stages} stage{'' if stages == 1 else 's'} and {caches} cache{'' if caches == 1 else 's'}"


def _sum(items: Sequence[Item]) -> int:
    return sum(item.size for item in items)


def _say(text: str) -> None:
    Console(highlight=False).print(text, markup=False, soft_wrap=True)


def _days(text: str | None) -> float | None:
    try:
        days = None if text is None else float(text)
    except ValueError:
        days = -1.0
    if days is not None and not 0 <= days < float("inf"):
        raise ConfigError(f"--older must be a number of days, 0 or more, got '{text}'.")
    return days


def _bytes(text: str | None) -> int | None:
    """
    >>> _bytes("1.5 GB"), _bytes("200")
    (1500000000, 200)
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]?b?)\s*", text.lower())
    unit = found and (found[2] if found[2].endswith("b") or not found[2] else f"{found[2]}b")
    if not found:
        raise ConfigError(f"--larger must be a number of bytes, kB, MB, GB or TB, as 500MB, got '{text}'.")
    return int(float(found[1]) * UNITS[unit])
