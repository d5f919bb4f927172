"""A stage is made once: not where its result is stored, not in two runs at a time, and by all processes of one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from apo_lightning import training
from apo_lightning.artifacts import StageFolder
from apo_lightning.files import removal


def once(folder: StageFolder, name: str, work: Callable[[], dict[str, Any]]) -> StageFolder:
    """Do ``work`` unless its result is there, or another run makes it; say which. Every process must call it.

    Args:
        folder: where the result lies.
        name: of the stage, in what is said.
        work: makes the result and returns facts for its manifest. All processes do it; the leader writes.
    """
    training.barrier()
    with ExitStack() as turn:
        if training.from_leader(lambda: turn.enter_context(folder.turn(name, training.say_plainly))):
            training.say(f"  {name} [dim]in the store[/dim]")
            if other := training.from_leader(folder.other_versions):
                how = removal(folder.path)
                training.warn(f"    {folder.stage} was made with {', '.join(other)}; to make it anew: {how}")
        else:
            _make(folder, name, work)
    training.barrier()
    return folder


def _make(folder: StageFolder, name: str, work: Callable[[], dict[str, Any]]) -> None:
    began = time.monotonic()
    training.say(f"  {name} ...")
    if training.is_leader():
        if edited := folder.edited():
            training.say_plainly(f"  {folder.stage}: source of {_listed(edited)} changed")
        folder.begin()
    facts = work()
    training.barrier()  # finishing removes what another process may still read
    if training.is_leader():
        folder.finish(seconds=round(time.monotonic() - began, 1), **facts)
    counted = {**facts.get("filtered", {}), **{f"cut {kind}": n for kind, n in facts.get("cut", {}).items()}}
    counted |= {f"{kind} with control tokens": n for kind, n in facts.get("control", {}).items()}
    texts = f" (texts: {', '.join(f'{n} {kind}' for kind, n in counted.items())})" if counted else ""
    computed = "".join(f", {n} {kind}" for kind, n in facts.get("computed", {}).items())
    training.say(f"  {name} [green]done[/green] in {time.monotonic() - began:.0f} s{texts}{computed}")


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
