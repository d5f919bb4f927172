"""What a finished stage consists of, so that a file that was damaged later is found before anything is read from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.files import removal

HASHED = 256 << 20
"""Bytes up to which a file's content is compared, and not its size alone: whole 7B weights would take a minute."""
UNLISTED = ("manifest.json", "config.yaml", "metrics.jsonl", "wandb")
"""Written later or by others, or read only by people and figures."""


def take(folder: Path, leave_out: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Size, and SHA-256 of those that are not too large, of every file by its path in ``folder``."""
    return {str(path.relative_to(folder)): _facts(path) for path in _files(folder, leave_out)}


def check(folder: Path, listed: Mapping[str, Mapping[str, Any]]) -> None:
    """
    Raises:
        ArtifactError: a listed file is missing or differs; the message names it and the command that removes the stage.
    """
    for name, facts in listed.items():
        if what := _difference(folder / name, facts):
            raise ArtifactError(
                f"{folder / name} {what}, so nothing is read from this stage. Restore the file, or remove the stage "
                f"and run again, which makes it anew: {removal(folder)}"
            )


def _files(folder: Path, leave_out: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        first = path.relative_to(folder).parts[0]
        if path.is_file() and first not in (*UNLISTED, *leave_out) and not path.name.startswith("."):
            yield path


def _facts(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    return {"bytes": size, **({"sha256": _digest(path)} if size <= HASHED else {})}


def _difference(path: Path, facts: Mapping[str, Any]) -> str:
    if not path.is_file():
        return "is no file any more" if path.exists() or path.is_symlink() else "is missing"
    size = path.stat().st_size
    if size != facts["bytes"]:
        return f"is damaged: it has {size:,} bytes and was written with {facts['bytes']:,}"
    if "sha256" in facts and _digest(path) != facts["sha256"]:
        return "is damaged: its content is not what was written"
    return ""


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
