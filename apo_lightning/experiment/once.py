"""A stage is made once: not where its result is stored, not in two runs at a time, and by all processes of one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from apo_lightning import leader
from apo_lightning.experiment import overall
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.files.atomic import removal


@dataclass(frozen=True)
class Told:
    """What became of a stage: made here, with the facts of its manifest, or found in the store, perhaps after
    ``waited`` seconds for another run that made it."""

    stage: str
    made: bool
    waited: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


_hearers: list[Callable[[Told], None]] = []


@contextmanager
def heard(hear: Callable[[Told], None]) -> Iterator[None]:
    """Inside, ``hear`` is told of every stage that this process makes or finds."""
    _hearers.append(hear)
    try:
        yield
    finally:
        _hearers.remove(hear)


def _tell(told: Told) -> None:
    for hear in _hearers:
        hear(told)


def once(folder: StageFolder, name: str, work: Callable[[], dict[str, Any]]) -> StageFolder:
    """Do ``work`` unless its result is there, or another run makes it; say which. Every process must call it.

    Args:
        folder: where the result lies.
        name: of the stage, in what is said.
        work: makes the result and returns facts for its manifest. All processes do it; the leader writes.
    """
    leader.barrier()
    began = time.monotonic()
    with ExitStack() as turn:
        if leader.from_leader(lambda: turn.enter_context(folder.turn(name, leader.say_plainly))):
            leader.say(f"  {name} [dim]in the store[/dim]")
            _tell(Told(folder.stage, made=False, waited=time.monotonic() - began))
            if other := leader.from_leader(folder.other_versions):
                how = removal(folder.path)
                leader.warn(f"    {folder.stage} was made with {', '.join(other)}; to make it anew: {how}")
        else:
            _make(folder, name, work)
    leader.barrier()
    return folder


CUT = {"branches": "cut at student.max_branch_tokens", "reports": "cut for student.max_context_tokens"}
"""What a line calls texts that lost their ends, by the collator's count."""


def _make(folder: StageFolder, name: str, work: Callable[[], dict[str, Any]]) -> None:
    began = time.monotonic()
    leader.say(f"  {name} ...")
    if place := overall.RUN.place():
        leader.say(f"    [dim]{place}[/dim]")
    if leader.is_leader():
        if why := folder.why_anew():
            leader.say_plainly(f"  {folder.stage}: {'; '.join(why)}")
        folder.begin()
    facts = work()
    leader.barrier()  # finishing removes what another process may still read
    if leader.is_leader():
        folder.finish(seconds=round(time.monotonic() - began, 1), **facts)
    _tell(Told(folder.stage, made=True, facts=facts))
    cut = {CUT.get(kind, f"cut {kind}"): n for kind, n in facts.get("cut", {}).items()}
    counted = {**facts.get("filtered", {}), **cut}
    counted |= {f"{kind} with control tokens": n for kind, n in facts.get("control", {}).items()}
    texts = f" (texts: {', '.join(f'{n} {kind}' for kind, n in counted.items())})" if counted else ""
    if "filtered" in facts and facts.get("studies") is not None:
        texts += f", trained on {facts['studies']:,} studies"
    computed = "".join(f", {n} {kind}" for kind, n in facts.get("computed", {}).items())
    leader.say(f"  {name} [green]done[/green] in {time.monotonic() - began:.0f} s{texts}{computed}")
