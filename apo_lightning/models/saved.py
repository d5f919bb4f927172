"""The files of a saved student, looked at before a library reads them, whose own errors name no file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from apo_lightning.errors import ArtifactError
from apo_lightning.files.atomic import removal
from apo_lightning.hashing import inventory

RECORD = "student.json"
WEIGHTS = {"weights": "config.json", "adapter": "adapter_config.json"}
"""What the folder of whole weights and that of an adapter must have beside their tensors."""


def read_record(folder: Path) -> dict[str, Any]:
    """What a saved student says of itself.

    Raises:
        ArtifactError: the record or one of the files that it speaks of is missing or unreadable, or the stage that
            wrote it is not what was written.
    """
    inventory.check(folder.parent)
    record = _json(folder / RECORD, folder)
    if record.get("kind") == "full":
        _require_tensors(folder / "weights", "weights", folder)
    else:
        for adapter in adapters(folder):
            _require_tensors(adapter, "adapter", folder)
    return record


def adapters(folder: Path) -> list[Path]:
    """The folders of a saved student's adapters, lowest first; what else lies among them is not ours.

    Raises:
        ArtifactError: there is none, or one between them is missing.
    """
    place = folder / "adapters"
    found = sorted((int(path.name), path) for path in place.glob("*") if re.fullmatch("[0-9]+", path.name))
    if not found or [number for number, _ in found] != list(range(len(found))):
        there = ", ".join(str(number) for number, _ in found) or "none"
        raise _damaged(place, f"must have the adapters 0, 1, ... and has {there}", folder)
    return [path for _, path in found]


def _require_tensors(place: Path, kind: str, folder: Path) -> None:
    _json(place / WEIGHTS[kind], folder)
    files = sorted(place.glob("*.safetensors"))
    if not files:
        raise _damaged(place, "has no file of tensors (.safetensors)", folder)
    for path in files:
        try:
            with safe_open(path, "pt") as tensors:
                held = len(tensors.keys())
        except (SafetensorError, OSError, ValueError) as error:
            raise _damaged(path, f"cannot be read ({getattr(error, 'strerror', None) or error})", folder) from error
        if not held:
            raise _damaged(path, "holds no tensor", folder)


def _json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        what = f"is missing or unreadable ({getattr(error, 'strerror', None) or error})"
        raise _damaged(path, what, folder) from error
    if not isinstance(content, dict):
        raise _damaged(path, "must be a JSON object", folder)
    return content


def _damaged(path: Path, what: str, folder: Path) -> ArtifactError:
    return ArtifactError(f"{path} {what}. Remove {folder.parent} and run again: {removal(folder.parent)}")
