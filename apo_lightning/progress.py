"""A bar with the time left over loops that take more than a few seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only
from rich.progress import track

from apo_lightning.console import Console

T = TypeVar("T")
LONG = 500
"""Below this many items no bar is drawn."""


def watch(items: Iterable[T], total: int, text: str) -> Iterator[T]:
    """``items`` one after the other, with a bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    shown = total > LONG and console.is_terminal and rank_zero_only.rank == 0
    yield from track(items, f"  {text}", total=total, console=console, transient=True) if shown else items
