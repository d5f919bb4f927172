"""Asking several teachers side by side, within one budget, until all is answered or something stops it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from apo_lightning.collecting import loops, senders
from apo_lightning.collecting.ask import Asker
from apo_lightning.collecting.journal import Journal
from apo_lightning.collecting.limits import Budget, Spent, Stop
from apo_lightning.collecting.plan import Plan
from apo_lightning.collecting.progress import Watch, watching
from apo_lightning.collecting.questions import Outcome, rescue
from apo_lightning.collecting.senders import Sender
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.files.locks import Say
from apo_lightning.signals import STOPS, Stopped

QUIET = ("httpx2", "httpx", "httpcore", "openai", "LiteLLM")
"""Loggers that tell of every request."""


@contextmanager
def alone(journals: Sequence[Journal], say: Say) -> Iterator[None]:
    """Inside, no other collector asks these teachers. All take them in one order, so that none waits for ever."""
    with ExitStack() as held:
        for journal in sorted({own.path: own for own in journals}.values(), key=lambda own: str(own.path)):
            held.enter_context(journal.alone(say))
        yield


@dataclass(frozen=True)
class Collected:
    """What came of asking.

    Attributes:
        outcomes: by the label of the teacher's plan.
        signum: number of the signal that ended it; 0: none did.
    """

    outcomes: dict[str, Outcome]
    signum: int = 0


def collect(plans: Sequence[Plan], budget: Mapping[str, float], say: Callable[[str], None]) -> Collected:
    """Ask all that is to be asked; call it inside of `alone`.

    Args:
        plans: of the teachers.
        budget: see `limits.Budget`; what their answers on disk have taken counts.
        say: takes a line.

    Raises:
        ConfigError: a key is not set, or the budget is in money and a price is not known.
        ArtifactError: the disk did not take answers; says where they are.
    """
    require_prices(plans, budget)
    hush()
    spent = Spent()
    for plan in plans:
        spent += plan.spent
    asked = [plan for plan in plans if plan.questions]
    ready = {plan.label: senders.sender(plan.endpoint, f"teachers.{plan.name}") for plan in asked}
    ears = _Ears(Stop(), say)
    with watching(asked, say) as watch:
        return loops.run(_collect(asked, ready, Budget(budget, spent), watch, ears), ears.hear)


async def _collect(
    plans: Sequence[Plan], ready: Mapping[str, Sender], budget: Budget, watch: Watch, ears: _Ears
) -> Collected:
    stop, askers = ears.stop, dict[str, Asker]()
    with ThreadPoolExecutor(1, "images") as opener, _heeding(ears):
        for own in plans:
            parts = (own.endpoint, own.journal, ready[own.label], own.sizes, budget, stop, opener)
            askers[own.label] = Asker(*parts, watch.of(own.label))
        asking = [askers[own.label].run(own.questions) for own in plans]
        ended = await asyncio.gather(*asking, return_exceptions=True)
    _save(plans, askers)
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    return Collected({label: asker.outcome for label, asker in askers.items()}, next(iter(ears.heard), 0))


def hush() -> None:
    """Let other libraries tell of no single request."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def require_prices(plans: Sequence[Plan], budget: Mapping[str, float]) -> None:
    """
    Raises:
        ConfigError: the budget is in money and a price is not known.
    """
    unknown = [plan.name for plan in plans if plan.questions and plan.endpoint.price.of(0, 0) is None]
    if "money" in budget and unknown:
        raise ConfigError(
            f"A budget in money needs the price of every teacher, and teachers.{unknown[0]}.price is not given "
            f"({len(unknown)} such). Give price: {{input: 1.25, output: 10}}, for a million tokens, or limit tokens."
        )


class _Ears:
    """A signal stops asking, and answers that are under way, which may be paid for, are waited for. A second one does
    not wait.

    Attributes:
        heard: numbers of the signals that came.
    """

    def __init__(self, stop: Stop, say: Callable[[str], None]) -> None:
        self.stop, self.say, self.heard = stop, say, list[int]()

    def hear(self, signum: int) -> None:
        """
        Raises:
            Stopped: it is the second one.
        """
        self.heard.append(signum)
        if len(self.heard) > 1:
            raise Stopped(signum)
        self.say("stopping: waiting for the answers that are under way (a second time: not waiting for them)")
        self.stop.now("it was stopped")


@contextmanager
def _heeding(ears: _Ears) -> Iterator[None]:
    """Inside, signals come to ``ears``; in another thread than the main one `loops.run` sees to that."""
    loop, here = asyncio.get_running_loop(), threading.current_thread() is threading.main_thread()
    before = {s: own for s in STOPS if here and (own := signal.getsignal(s)) not in (signal.SIG_IGN, None)}
    for signum in before:
        loop.add_signal_handler(signum, ears.hear, signum)
    try:
        yield
    finally:
        for signum, handler in before.items():
            loop.remove_signal_handler(signum)
            signal.signal(signum, handler)


def _save(plans: Sequence[Plan], askers: Mapping[str, Asker]) -> None:
    """
    Raises:
        ArtifactError: answers did not find room where they belong; names the files that hold them.
    """
    place = Path(tempfile.gettempdir()) / f"apo-collect-{os.getpid()}"
    left = {
        plan.journal.path: path
        for plan in plans
        if askers[plan.label].outcome.unsaved
        and (path := rescue(askers[plan.label].outcome.unsaved, plan.journal, place))
    }
    if left:
        moves = "; ".join(f"cat {path} >> {home}" for home, path in left.items())
        raise ArtifactError(f"The disk did not take all answers. Those that it did not take are kept: {moves}")
