"""The one process of a run that writes files and speaks; the others wait for it and hear from it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from lightning.pytorch.utilities import rank_zero_only
from rich.markup import escape
from torch import distributed as dist

from apo_lightning.console import Console

T = TypeVar("T")


console = Console(highlight=False)


def is_leader() -> bool:
    """True in the one process that writes files and speaks."""
    return rank_zero_only.rank == 0


PATIENCE = timedelta(days=30)
"""What processes wait for the leader, at most: it may be waiting for another run. One that dies is noticed at once."""


_beside: list[Any] = []
"""The group in which processes wait for and hear from their leader, on the CPU, beside the one they train in."""


def join_beside() -> None:
    """Open that group, once the processes of this run have joined each other."""
    _beside.append(dist.new_group(backend="gloo", timeout=PATIENCE))


def barrier() -> None:
    """Wait for every process of this run, if there is more than one."""
    if joined():
        dist.barrier(group=_beside[0] if _beside else None)


def from_leader(ask: Callable[[], T]) -> T:
    """What ``ask`` returns in the leader, in every process. The others do not call it: so none reads a file while the
    leader writes or removes it, and none decides otherwise than the leader."""
    if not joined():
        return ask()
    answer = [ask() if is_leader() else None]
    dist.broadcast_object_list(answer, src=0, group=_beside[0] if _beside else None)
    return answer[0]


def joined() -> bool:
    """Whether this process has joined others."""
    return dist.is_available() and dist.is_initialized()


def warn(text: str) -> None:
    """A sentence that names files, from the leader only: not wrapped, and brackets in it are only brackets."""
    if is_leader():
        console.print(text, style="yellow", markup=False, soft_wrap=True)


def say(text: str) -> None:
    """One line to the terminal, from the leader only; in a log it stays one line."""
    if is_leader():
        console.print(text, soft_wrap=not console.is_terminal)


def say_plainly(text: str) -> None:
    """`say` for text from elsewhere, in which a bracket is a bracket."""
    say(f"  {escape(text)}")
