"""The reference: one page a room, with every public module of it, out of its docstrings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOMS = {
    "stages": "apo_lightning.stages",
    "losses": "apo_lightning.losses",
    "functional": "apo_lightning.functional",
    "scoring": "apo_lightning.scoring",
    "models": "apo_lightning.models",
    "data_modules": "data_modules",
    "callbacks": "callbacks",
    "teachers": "apo_lightning.teachers",
    "positives": "apo_lightning.positives",
    "negatives": "apo_lightning.negatives",
    "weighting": "apo_lightning.weighting",
    "metrics": "apo_lightning.metrics",
    "drift": "apo_lightning.drift",
    "settings": "apo_lightning.settings",
    "types": "apo_lightning.types",
}
"""Rooms that a user's code meets: what experiment files name, and what these take and give."""


def places() -> dict[str, str]:
    """Room to its page."""
    return {room: f"reference/{room}.md" for room in ROOMS}


def pages(root: Path) -> dict[str, str]:
    """Page to markdown."""
    return {places()[room]: _page(root, room, package) for room, package in ROOMS.items()}


def _page(root: Path, room: str, package: str) -> str:
    lines = [f"# {room}", f"::: {package}\n    options: {{members: false, show_root_heading: false}}"]
    folder = root / package.replace(".", "/")
    if not folder.is_dir():  # a room that is a file
        lines[1:] = [f"::: {package}"]
        return "\n\n".join(lines) + "\n"
    return "\n\n".join([*lines, *(f"::: {package}.{name}" for name in _modules(folder))]) + "\n"


def _modules(folder: Path) -> Iterator[str]:
    """Dotted names of all public modules below ``folder``, and of packages that define something themselves."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if not any(part.startswith("_") for part in parts):
            yield ".".join(parts)
