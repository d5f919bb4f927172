"""The files that ``docs/adding.md`` shows, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs/adding.md").read_text("utf-8")
SHOWN = {Path(file): text for file, text in re.findall(r'^```\w+ title="(\S+)"\n(.*?)^```$', PAGE, re.S | re.M)}
"""File of the page to what it holds."""


def file_of(name: str) -> Path:
    """The file whose name, without its ending, is ``name``."""
    return next(file for file in SHOWN if file.stem == name)
