"""Content hashes. Those of large files are remembered by path, size and times of change: 16 GB are read once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apo_lightning.files.atomic import write_text

SETTLED = 2.0
"""Seconds since its last change after which a file's times tell it from its next version: a clock's tick and more."""


def digest(content: Any) -> str:
    """SHA-256 over the canonical JSON of plain containers.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 over a file, or over the names and contents of all files of a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(str(file.relative_to(path)).encode())
        total.update(bytes.fromhex(content_digest(file)))
    return total.hexdigest()


def content_digest(file: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` gives it."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def remembered_digest(folder: Path, memory: Path) -> str:
    """Hash of the names and contents of all files of a folder.

    Args:
        folder: of a model.
        memory: see `remembered`.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    known = remembered(files, memory, lambda file: file_digest(file))
    return digest([[str(file.relative_to(folder)), value] for file, value in zip(files, known, strict=True)])


def remembered(files: Sequence[Path], memory: Path, of: Callable[[Path], str], kind: str = "") -> list[str]:
    """What ``of`` gives for each file.

    Args:
        files: those that are asked for.
        memory: JSON file of what is known. One that is missing or damaged costs a reading, and so does any file whose
            size, or time of writing or of change, is another than it was.
        of: a hash of a file.
        kind: tells this hash from others in the same memory.
    """
    known, told = _read(memory), {}
    keys = [f"{kind}{file.resolve()}" for file in files]
    for key, file in zip(keys, files, strict=True):
        entry, mark = known.get(key), _mark(file)
        if isinstance(entry, dict) and entry.get("mark") == mark and isinstance(entry.get("sha256"), str):
            told[key] = entry
        else:
            told[key] = {"mark": mark, "sha256": of(file)}
    settled = {key: entry for key, entry in told.items() if time.time() - max(entry["mark"][1:]) / 1e9 > SETTLED}
    if any(known.get(key) != entry for key, entry in settled.items()):
        write_text(memory, json.dumps({**_read(memory), **settled}, indent=2) + "\n")
    return [told[key]["sha256"] for key in keys]


def _mark(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _read(memory: Path) -> dict[str, Any]:
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
