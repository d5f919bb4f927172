"""Content hashes of large files, remembered by path, size and times of change: 16 GB are read once a machine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from apo_lightning.artifacts import digest, file_digest, write_json

SETTLED = 2.0
"""Seconds since its last change after which a file's times tell it from its next version: a clock's tick and more."""


def remembered_digest(folder: Path, memory: Path) -> str:
    """Hash of the names and contents of all files of a folder.

    Args:
        folder: of a model.
        memory: JSON file of what is known. One that is missing or damaged costs a reading, and so does any file whose
            size, or time of writing or of change, is another than it was.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    known, told = _read(memory), {}
    for file in files:
        key, mark = str(file.resolve()), _mark(file)
        entry = known.get(key)
        if isinstance(entry, dict) and entry.get("mark") == mark and isinstance(entry.get("sha256"), str):
            told[key] = entry
        else:
            told[key] = {"mark": mark, "sha256": file_digest(file)}
    settled = {key: entry for key, entry in told.items() if time.time() - max(entry["mark"][1:]) / 1e9 > SETTLED}
    if any(known.get(key) != entry for key, entry in settled.items()):
        write_json(memory, {**_read(memory), **settled})
    return digest([[str(file.relative_to(folder)), told[str(file.resolve())]["sha256"]] for file in files])


def _mark(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _read(memory: Path) -> dict[str, Any]:
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
