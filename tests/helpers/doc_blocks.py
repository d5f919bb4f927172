"""The code blocks of the pages that a user reads: README.md and docs/*.md.

A block that cannot be tried where the tests run (it needs a package, a server or a file of the reader's own) has a line
above it that no reader sees: ``<!-- not tried: why -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("", "sh", "bash", "shell", "console")
COMMANDS = ("make", "apo", ".venv/bin/apo", ".venv/bin/pip", ".venv/bin/python", "pip", "python", "python3")
"""What a block without a language begins a line with if it is one of commands and not of data."""

_FENCE = re.compile(
    r"^(?:<!-- not tried: (?P<why>.+?) -->\n+)?(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=fence) *$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        where: page and line of its first line.
        language: the first word behind the fence, perhaps "".
        title: the file that the block shows, "" where it is none.
        why: the reason that it is not tried, "" where it is.
    """

    where: str
    language: str
    title: str
    body: str
    why: str

    @property
    def is_shell(self) -> bool:
        if self.language in SHELL[1:]:
            return True
        return not self.language and any(line.startswith(tuple(f"{c} " for c in COMMANDS)) for line in self.lines())

    def lines(self) -> list[str]:
        """Lines with something on them; one that ends with a backslash goes on in the next."""
        return [line for line in self.body.replace("\\\n", " ").splitlines() if line.strip()]


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    return list(read(page.read_text("utf-8"), str(page.relative_to(ROOT))))


def read(text: str, name: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        language, _, rest = found["info"].strip().partition(" ")
        title = re.search(r'title="(\S+)"', rest)
        line = text.count("\n", 0, found.start("fence")) + 1
        yield Block(f"{name}:{line}", language, title[1] if title else "", found["body"], found["why"] or "")
