"""``apo collect``: ask the teachers of an experiment, each answer on disk as it comes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from apo_lightning.console import Console, print_whole, show_error
from apo_lightning.errors import ConfigError, did_you_mean
from apo_lightning.signals import Stopped

if TYPE_CHECKING:
    from apo_lightning.collecting.collect import Collected
    from apo_lightning.collecting.plan import Plan
    from apo_lightning.experiment.asking import Asked
    from apo_lightning.settings import ExperimentSettings


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``collect`` to the command line."""
    ask = command(commands, "collect", collect, "ask the teachers of an experiment for their texts, or go on with it")
    ask.add_argument("experiment", help="a name under experiments/, or a file")
    ask.add_argument("overrides", nargs="*", metavar="key=value", help="settings laid over the experiment")
    ask.add_argument("--dry-run", action="store_true", help="say what would be asked and what it costs; ask nothing")
    ask.add_argument(
        "--budget",
        metavar="money=5,tokens=2e6,requests=1000",
        help="what the answers of this experiment may take in all, with those that are on disk",
    )
    ask.add_argument("--again", metavar="MARKS", help="ask again what is marked: truncated,empty,refused")
    ask.add_argument("--teacher", metavar="NAME,NAME", help="only these")
    ask.add_argument("--batch", action="store_true", help="by the endpoint's batches: half the price, within a day")
    ask.add_argument("--no-wait", action="store_true", help="with --batch: fetch what has come, and go")
    ask.add_argument("--export", type=Path, metavar="FILE", help="then write all texts as trajectories (JSON lines)")


def collect(options: argparse.Namespace) -> int:
    """``apo collect EXPERIMENT [key=value ...] [--dry-run] [--budget ...] [--again ...] [--batch] [--export FILE]``."""
    from apo_lightning import config
    from apo_lightning.collecting.journal import MARKS
    from apo_lightning.collecting.limits import read_budget

    again, budget = _words(options.again), read_budget(options.budget)
    for mark in again:
        if mark not in MARKS:
            raise ConfigError(f"--again names '{mark}'. {did_you_mean(mark, MARKS)}")
    if options.no_wait and not options.batch:
        raise ConfigError("--no-wait goes with --batch: only batches go on without us.")
    cfg = config.load(config.find(options.experiment), options.overrides)
    from apo_lightning.experiment import asking, matched_texts, writing

    if not asking.named(cfg) and not writing.names(cfg) and any(map(matched_texts.named, cfg.resolved.values())):
        return _tell_recorded(cfg)
    only, here = _words(options.teacher), writing.names(cfg)
    asked = [name for name in only if name not in here]
    if (only and not asked) or (here and not asking.named(cfg)):
        return _write(cfg, only, dry=options.dry_run)
    asked = asking.asked(cfg, asked)
    if options.dry_run:
        _show_before(asking.plans(asked, again), batches=options.batch)
        return _write(cfg, only, dry=True)
    _write(cfg, only)
    status = _ask(asked, again, budget, {"wait": not options.no_wait} if options.batch else None)
    if options.export:
        _say(f"{asking.export(asked, options.export):,} texts: {options.export}")
    return status


def _tell_recorded(cfg: ExperimentSettings) -> int:
    """Of an experiment that asks nobody, since texts are there; returns the exit status.

    Raises:
        DataError: none of a teacher's texts names a study, or they cannot be read.
    """
    from apo_lightning.experiment import matched_texts

    paths = {name: path for own in cfg.resolved.values() for name, path in matched_texts.named(own).items()}
    _say(f"Nobody is asked: the texts of {', '.join(paths)} are recorded (kind: recorded).")
    for line in matched_texts.look(cfg.resolved):
        _say(f"  {line}")
    gone = {path: name for name, path in paths.items() if not Path(path).expanduser().exists()}
    for path, name in gone.items():
        show_error(f"teachers.{name}: there is no file {path}. Correct the path, or write the texts there.")
    return 2 if gone else 0


def _write(cfg: ExperimentSettings, only: Sequence[str], *, dry: bool = False) -> int:
    """Let the teachers that run here write, or say what they would; returns the exit status."""
    from apo_lightning.experiment import writing

    for one in writing.local(cfg, only):
        known, own = one.before(), one.teacher
        left = known.asked - known.without_report - known.kept
        _say(f"{own.name}: {own.model} writes {left:,} of {known.asked:,} texts -> {own.path}")
        if dry:
            continue
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"  {own.name}", total=known.asked - known.without_report, completed=known.kept)
            come = one.write(lambda now, task=task: bar.update(task, completed=now.kept + now.written))
        _say(f"  {come.written:,} written, {come.kept:,} were there, {come.cut:,} cut, {come.empty:,} empty")
        if own.log_probs:
            bytes_ = f"{writing.size(own):,} bytes -> {own.log_probs.path}"
            _say(f"  log-probs of {come.recorded:,} texts recorded ({come.tokens:,} tokens); in all {bytes_}")
    return 0


def _ask(
    asked: Sequence[Asked], again: Sequence[str], budget: dict[str, float], batches: dict[str, bool] | None
) -> int:
    """Ask, by batches or else one by one, and print what came; returns the exit status."""
    from apo_lightning.collecting import batch
    from apo_lightning.collecting import collect as engine
    from apo_lightning.experiment import asking

    with engine.alone([one.teacher.journal for one in asked], _say):
        plans = asking.plans(asked, again)
        _show_before(plans, batches=batches is not None)
        if batches is None:
            batch.refuse_under_way(plans)
            come = engine.collect(plans, budget, _say)
        else:
            come = batch.collect(plans, budget, _say, **batches)
    return _show_after(plans, come)


def _show_before(plans: Sequence[Plan], *, batches: bool) -> None:
    from apo_lightning.collecting import tables
    from apo_lightning.collecting.batch_answers import DISCOUNT

    print_whole(tables.before(plans), Console(highlight=False))
    for plan in {str(plan.journal.path): plan for plan in plans}.values():
        own = plan.endpoint
        _say(f"  {plan.label}: prompt '{own.prompt}', {own.base_url or own.client} -> {plan.journal.path}")
    if batches:
        _say(f"  by batches, which cost {DISCOUNT:.0%} of this where the endpoint gives OpenAI's discount")


def _show_after(plans: Sequence[Plan], come: Collected) -> int:
    from apo_lightning.collecting import tables

    if come.outcomes:
        print_whole(tables.after(plans, come.outcomes), Console(highlight=False))
    for text in tables.remarks(plans, come.outcomes):
        Console(highlight=False).print(text, style="yellow", markup=False, soft_wrap=True)
    if come.signum:
        raise Stopped(come.signum)
    left = sum(tables.lacking(plan, come.outcomes.get(plan.label)) for plan in plans)
    if left:
        show_error(f"{left:,} answers are lacking. What came is on disk, and no later call asks for it again.")
        return 2
    _say(f"all {sum(len(plan.items) for plan in plans):,} answers are on disk")
    return 0


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _say(text: str) -> None:
    Console(highlight=False).print(text, markup=False, soft_wrap=True)
