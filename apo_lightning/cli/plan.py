"""``apo plan``: memory by part and time by stage, before anything is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from apo_lightning.console import Console
from apo_lightning.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from apo_lightning.planning import Card, Lengths, Plan
    from apo_lightning.settings import ExperimentSettings


CARDS = "h200, h100, a100, a100-40, l40s, a6000, rtx4090, rtx3090, a10, l4, rtx4070"
CARD = "h100"
"""What is planned for where no card is named."""
SPLITS = ("train", "val", "test")
SMALL = "nano"
"""A student that no card is needed for."""


ELSEWHERE = (
    f"The student of this experiment is the embedded {SMALL}, which trains on a CPU. Memory and times below are those "
    f"of one {CARD} (no --card was given), not of this machine: here the run itself says the time left, from its first "
    "steps on."
)


@dataclass
class Row:
    """A stage, the arm that makes it, and how often it is made for one seed."""

    arm: str
    stage: Plan
    times: int = 1


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``plan`` to the command line."""
    own = command(commands, "plan", plan, "what an experiment would need on a GPU: memory by part, time by stage")
    own.add_argument("experiment", help="a name under experiments/, or a file")
    own.add_argument("--card", help=f"{CARDS} (default: {CARD})")
    own.add_argument("--prompt", type=int, metavar="TOKENS", help="of a prompt with its image, instead of measuring")
    own.add_argument("--answer", type=int, metavar="TOKENS", help="of an answer, instead of measuring")
    for split in SPLITS:
        own.add_argument(f"--{split}", type=int, metavar="STUDIES", help="in that split, where the data is not here")
    own.add_argument("overrides", nargs="*", metavar="key=value")


def plan(options: argparse.Namespace) -> int:
    """``apo plan EXPERIMENT [--card NAME] [--prompt N] [--answer N] [--train N ...] [key=value ...]``. Status 2 where
    it does not fit.

    Raises:
        ConfigError: the experiment is not valid, or nobody knows the card.
    """
    from apo_lightning import config, planning
    from apo_lightning.experiment import noise

    noise.quiet()
    name = options.card or CARD
    if name not in planning.CARDS:
        raise ConfigError(f"--card '{name}' is not known. {did_you_mean(name, planning.CARDS)}")
    cfg, card = config.load(config.find(options.experiment), options.overrides), planning.CARDS[name]
    arms = cfg.resolved
    lengths, reason = _lengths(next(iter(arms.values())), options)
    said = f"prompt {lengths.prompt} tokens, answers {lengths.answer} (mean {lengths.usual:.0f}): {lengths.source}"
    Console().print(f"{said}{reason and f' ({reason})'}", markup=False)
    rows = _rows(arms, lengths, card)
    if options.card is None and cfg.student.model == SMALL:
        Console().print(ELSEWHERE, markup=False, style="yellow")
    Console().print(_table(rows, f"{options.experiment} on {name}, {card.gb} GB"))
    return _verdict(arms, rows, lengths, card)


def _lengths(cfg: ExperimentSettings, options: argparse.Namespace) -> tuple[Lengths, str]:
    from apo_lightning import planning

    lengths, reason = planning.known(cfg)
    given: dict[str, Any] = {"prompt": options.prompt, "answer": options.answer, "usual": options.answer}
    counts = {split: getattr(options, split) for split in SPLITS}
    given["studies"] = lengths.studies | {split: count for split, count in counts.items() if count is not None}
    lengths = replace(lengths, **{key: value for key, value in given.items() if value})
    if options.prompt and options.answer:
        return replace(lengths, source="as given"), ""
    return lengths, reason


def _rows(arms: dict[str, ExperimentSettings], lengths: Lengths, card: Card) -> list[Row]:
    """Each stage once, under the first arm that has it behind the same stages and the same teachers; every arm answers
    by itself, in one row where all take the same."""
    from apo_lightning import planning

    found: dict[tuple[str, ...], Row] = {}
    for arm, cfg in arms.items():
        before: tuple[str, ...] = (repr(cfg.pool), repr(cfg.student))
        for stage in planning.plan(cfg, arm, lengths, card):
            own = getattr(cfg.stages, stage.name, None)
            before = (*before, stage.name, repr(own))
            key = before if own else (repr(cfg.evaluate), repr(cfg.student))
            if key not in found:
                found[key] = Row(arm if own else "each", stage)
            elif not own:
                found[key].times += 1
    return list(found.values())


def _table(rows: list[Row], title: str) -> object:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("stage (arm)", overflow="fold")
    table.add_column("scored", overflow="fold")
    for head in ("GB: weights + trained + a pass + rest", "GB", "steps", "s each", "time"):
        table.add_column(head, justify="right")
    for row in rows:
        stage, need = row.stage, row.stage.need
        own = (need.weights, need.trained, need.activations, need.context) if need else ()
        parts = " + ".join(_least(part / 1e9, 1) for part in own)
        whole, steps = f"{need.total / 1e9:.1f}" if need else "", "?" if stage.steps is None else str(stage.steps)
        table.add_row(
            f"{stage.name} ({row.arm})", stage.mode, parts, whole, steps, _least(stage.step, 2), _time(stage.seconds)
        )
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{_least(seconds / 60, 0)} min"


def _least(value: float, digits: int) -> str:
    """A number, which is not 0 where it is only small.

    >>> _least(0.004, 2), _least(0.5, 2), _least(0.0, 1), _least(0.4, 0)
    ('< 0.01', '0.50', '0.0', '< 1')
    """
    small = 0 < value < 10**-digits / 2 or (digits == 0 and 0 < value < 1)
    return f"< {10**-digits:.{digits}f}" if small else f"{value:.{digits}f}"


def _whole(rows: list[Row]) -> str:
    """The time of all stages of all arms, one seed.

    >>> from apo_lightning.planning import Plan
    >>> step = lambda steps: Plan("spd", None, "", steps, 3600.0)
    >>> _whole([Row("a", step(2)), Row("each", step(1), times=3)])
    'All of it, one seed, one after another: 5.0 h.'
    >>> _whole([Row("a", step(2)), Row("each", step(None), times=3)])
    'All of it, one seed, one after another: 2.0 h, and each (?): give --train, --val and --test.'
    """
    known = sum(row.times * row.stage.seconds for row in rows if row.stage.seconds is not None)
    open_ = dict.fromkeys(row.arm for row in rows if row.stage.seconds is None)
    beside = f", and {', '.join(open_)} (?): give --train, --val and --test" if open_ else ""
    return f"All of it, one seed, one after another: {_time(known)}{beside}."


def _verdict(arms: dict[str, ExperimentSettings], rows: list[Row], lengths: Lengths, card: Card) -> int:
    from apo_lightning import planning

    console = Console()
    for row in rows:
        if row.stage.why:
            console.print(f"{row.stage.name} ({row.arm}): {row.stage.why}", style="dim", markup=False)
    console.print(_whole(rows), markup=False, soft_wrap=True)
    wrong = [(row.arm, row.stage) for row in rows if not row.stage.fits(card)]
    if not wrong:
        console.print(
            "It fits. Memory was held against an H100 at 7B (docs/results/gpu_proof); times are rough, and those of "
            "writing an H100's, since it waits for launches. Main memory and disk are not counted.",
            soft_wrap=True,
        )
        return 0
    most = f"{planning.FILL * card.gb:.1f} of the card's {card.gb:g} may be filled"
    for arm, stage in wrong:
        console.print(
            f"{arm}, {stage.name} needs {stage.need.total / 1e9:.1f} GB, more than fits ({most}).",
            markup=False,
            soft_wrap=True,
        )
    named = [arm for arm, _ in wrong if arm in arms] or list(arms)  # all arms are evaluated
    arm = max(named, key=lambda arm: len(arms[arm].arms[arm].stages))
    found = list(planning.remedies(arms[arm], arm, lengths, card))
    for words, most in found:
        console.print(f"  it would fit with {words} ({most / 1e9:.1f} GB)", markup=False, soft_wrap=True)
    if not found:
        console.print("  no single setting is enough: take a smaller student, shorter limits, or FSDP2 on more devices")
    return 2
