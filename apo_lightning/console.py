"""The terminal: whatever is printed comes out as characters, never as commands to the terminal.

Names of teachers, ids of studies, texts and paths come from files. An escape sequence in one of them could clear the
screen, set its title or forge a line, and a mark of direction could show it in another order than it has.
"""

from __future__ import annotations

import logging
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich import console
from rich.segment import Segment
from rich.table import Table

from apo_lightning.files.characters import visible


class Console(console.Console):
    """Rich's console, in which control characters of what is printed are shown and not obeyed. Colours and the like
    are styles, which rich itself writes."""

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def print_whole(table: Table, console: Console) -> None:
    """Print a table; into a file or a pipe as wide as it is, since nothing there is 80 columns wide."""
    before = console.width
    if not console.is_terminal:
        console.width = max(before, Console(width=1_000).measure(table).maximum)
    console.print(table)
    console.width = before


def print_hanging(console: Console, lead: str, text: str, style: str | None = None) -> None:
    """Print a text behind ``lead``, its further lines as far to the right (where that leaves half the width), none
    longer than the terminal is wide. A word that is longer, such as a path, stays whole."""
    indent = " " * (len(lead) if len(lead) <= console.width // 2 else 4)
    lines = textwrap.wrap(
        text,
        width=console.width,
        initial_indent=lead,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print("\n".join(lines or [lead.rstrip()]), style=style, markup=False, soft_wrap=True)


def make_safe() -> None:
    """Let what is logged and warned of, and a traceback, reach the terminal as characters too, where nobody has chosen
    another way for them."""
    logging.lastResort.setFormatter(_Plain())
    if not hasattr(warnings.formatwarning, "__wrapped__"):
        warnings.formatwarning = _formatted(warnings.formatwarning)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _trace


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(visible("".join(traceback.format_exception(kind, error, trace))))


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _formatted(plain: Any) -> Any:
    def format_warning(*args: Any, **kwargs: Any) -> str:
        return visible(plain(*args, **kwargs))

    format_warning.__wrapped__ = plain  # type: ignore[attr-defined]
    return format_warning


def show_error(text: str) -> None:
    """``error: ...`` on standard error, in red where it is a terminal."""
    Console(stderr=True).print(f"error: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
