"""Walk a study: the search of every world, the choice, the finals, and after each part the tables of what is done."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.markup import escape

from apo_lightning import leader, signals
from apo_lightning.errors import ApoError, ConfigError, did_you_mean
from apo_lightning.experiment import processes
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.study import parts, rules, tables
from apo_lightning.experiment.study.file import Loaded, read
from apo_lightning.experiment.study.record import WHOLE, Failures, Record
from apo_lightning.files import disk, locks
from apo_lightning.files.atomic import write_text
from apo_lightning.files.characters import visible
from apo_lightning.reports.cost import duration
from apo_lightning.settings import ExperimentSettings

TABLE = "table"
STEPS = (*parts.PARTS, TABLE)


class Watch:
    """Stands around every arm and seed of a study: one that fails is noted, and the others go on.

    Attributes:
        left: how many are still to be made.
        spent: seconds of those that were made here.
    """

    def __init__(self, left: int) -> None:
        self.left, self.spent = left, list[float]()
        self.failures: Failures | None = None

    def guard(self, arm: str, seed: int, make: Callable[[], Context]) -> Context | None:
        """See `run.Guard`. Where several processes make it, a failure ends them all: they wait for each other."""
        begun = time.monotonic()
        try:
            return make()
        except Exception as error:
            if leader.joined() or signals.behind(error) or disk.explain(error):
                raise
            self.note(arm, seed, error)
            return None
        finally:
            self.left -= 1
            self.spent.append(time.monotonic() - begun)
            if self.left > 0:
                left = duration(self.left * sum(self.spent) / len(self.spent))
                leader.say(f"  [dim]{self.left} of the study's arms and seeds left, about {left}[/dim]")

    def note(self, arm: str, seed: int | None, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        if self.failures is None or not leader.is_leader():
            return
        self.failures.add(arm, seed, said)
        name = "all" if arm == WHOLE else f"{arm}.seed{seed}"
        write_text(self.failures.path.with_name(f"{self.failures.path.stem}.{name}.txt"), traceback.format_exc())
        leader.warn(
            f"  {arm} seed {seed} failed: {visible(said)}" if seed is not None else f"  failed: {visible(said)}"
        )


def study(path: Path, overrides: Sequence[str] = (), worlds: Sequence[str] = (), only: str | None = None) -> Record:
    """Run what a study lacks, and write its tables. What the store has is not run again.

    Args:
        path: the study's file.
        overrides: ``key=value`` words over the experiment, in all parts.
        worlds: those that are run here; none: all. The tables have what is done of all of them.
        only: ``search``, ``final`` or ``table``; None: all three.

    Raises:
        ConfigError: the file or any of its parts is not valid, or there is no such world; nothing has been run.
        ArtifactError: a run folder of the study is another configuration's.
        ApoError: something failed or waits for another world; everything else was run and written.
    """
    loaded = read(path, overrides)
    asked = _asked(loaded, worlds)
    record, problems = Record(loaded), list[str]()
    for cfg in loaded.searches.values():
        leader.from_leader(lambda cfg=cfg: record.require(cfg))
    watch = Watch(_left(loaded, asked, only))
    if only in (None, parts.SEARCH):
        for world in asked:
            _run(loaded, world, parts.SEARCH, loaded.searches[world], watch)
    if only in (None, parts.FINAL):
        problems += [text for world in asked if (text := _final(loaded, world, watch))]
    record = Record(loaded)
    if leader.is_leader():
        tables.show(record)
    return _concluded(record, asked, problems)


def _asked(loaded: Loaded, worlds: Sequence[str]) -> list[str]:
    known = loaded.plan.worlds
    if unknown := [f"No world is named '{name}'. {did_you_mean(name, known)}" for name in worlds if name not in known]:
        raise ConfigError("\n".join(unknown))
    return [name for name in known if not worlds or name in worlds]


def _left(loaded: Loaded, asked: Sequence[str], only: str | None) -> int:
    """How many arms and seeds there are to make, as far as that is known before the choice."""
    spec, plan = loaded.plan.spec, loaded.plan
    trials = len(list(parts.trials(plan))) * len(spec.search.seeds)
    going = len(plan.also) + plan.going.get(rules.BEST, 0) if plan.going else len(plan.arms)
    finals = min(going, len(plan.measured)) * len(spec.final.seeds)
    return len(asked) * (trials * (only != parts.FINAL) + finals * (only != parts.SEARCH))


def _final(loaded: Loaded, world: str, watch: Watch) -> str:
    """Run the final of a world; returns why it waits, where it does."""
    record, name = Record(loaded), loaded.plan.name
    if waits := record.waits_for(world):
        return f"The final of {world} waits for the search of {', '.join(waits)}: run it, then this command again."
    cfg = record.final(world)
    leader.from_leader(lambda: record.require(cfg))
    if not cfg.only:
        return f"The final of {world} has no arm to measure: every trial of {name} failed there."
    _run(loaded, world, parts.FINAL, cfg, watch)
    return ""


def _run(loaded: Loaded, world: str, part: str, cfg: ExperimentSettings, watch: Watch) -> None:
    """One part of a world, as an ordinary run; then the tables, so that a later kill loses none of it."""
    plan = loaded.plan
    if part == parts.SEARCH and (problems := rules.of_search(plan, world, cfg)):
        raise ConfigError("\n".join(problems))
    leader.say(f"[bold]{escape(plan.name)}[/bold]: {part} in {escape(world)} ({escape(plan.worlds[world].title)})")
    watch.failures = Failures(plan.folder / world / f"{part}.failed.json")
    if leader.is_leader():
        watch.failures.write()
    try:
        _train(cfg, plan.folder / world / f"{part}.yaml", watch)
    except Exception as error:  # the other worlds must go on, whatever it was
        if signals.behind(error) or disk.explain(error):
            raise
        watch.note(WHOLE, None, error)
    if leader.is_leader():
        with locks.held(plan.folder / ".lock", str(plan.folder), leader.say_plainly):
            tables.write(Record(loaded))
    leader.barrier()


def _train(cfg: ExperimentSettings, file: Path, watch: Watch) -> None:
    """Here, or in processes of its own where it asks for several: none of those walks the study."""
    if processes.wanted(cfg.trainer):
        outcome = processes.launch(["run", str(parts.dumped(cfg, file))], cfg.trainer)
        if outcome.status:
            raise ApoError(outcome.message) from (RuntimeError(outcome.trace) if outcome.trace else None)
        return
    from apo_lightning.experiment import run

    run.run(cfg, watch.guard)


def _concluded(record: Record, asked: Sequence[str], problems: Sequence[str]) -> Record:
    """
    Raises:
        ApoError: something failed, or waits.
    """
    failed = [text for text in record.failed() if text.split(" ")[0] in asked]
    if failed:
        again = "The same command runs only what is missing."
        problems = [*problems, f"{len(failed)} failed: {'; '.join(failed)}. {again}"]
    if problems:
        raise ApoError("\n".join(problems))
    return record
