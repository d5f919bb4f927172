"""What offline W&B runs hold, read from the files that ``wandb sync`` would send."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, FILE_HEADER, HEADER = 32768, 7, struct.Struct("<IHB")
"""Of LevelDB's log format: records are cut at blocks, and each part says its length and its kind."""
FULL, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    """One run: what it says of itself, and what was logged."""

    path: Path
    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    step_metrics: dict[str, str] = field(default_factory=dict)
    """Key, or its beginning and ``*``, to what it is drawn over."""
    exit_code: int | None = None

    def logged(self) -> dict[str, Any]:
        """Each key to its last value."""
        return {name: value for row in self.history for name, value in row.items() if not name.startswith("_")}

    def curve(self, key: str) -> list[Any]:
        return [row[key] for row in self.history if key in row]


@contextmanager
def new_process() -> Iterator[None]:
    """Inside, W&B reads its environment anew, which it does once in a process."""
    wandb.teardown()
    try:
        yield
    finally:
        wandb.teardown()


def read_all(folder: Path) -> list[OfflineRun]:
    """Every run below ``folder``, links not followed."""
    return [read(path) for path in sorted(folder.rglob("offline-run-*/run-*.wandb"))]


def read(path: Path, patience: float = 20) -> OfflineRun:
    """A finished run; W&B's own process may still be writing the end of its file."""
    for _ in range(int(patience / 0.05)):
        run = OfflineRun(path)
        for record in _records(path.read_bytes()):
            _take(run, record)
        if run.exit_code is not None:
            return run
        time.sleep(0.05)
    raise AssertionError(f"{path} was not finished")


def _take(run: OfflineRun, record: Record) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        own = record.run
        run.id, run.name, run.group, run.job_type = own.run_id, own.display_name, own.run_group, own.job_type
        run.tags = list(own.tags)
        _update(run.config, own.config)
    elif kind == "config":
        _update(run.config, record.config)
    elif kind == "history":
        run.history.append(_tree(record.history.item))
    elif kind == "metric":
        run.step_metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
    elif kind == "exit":
        run.exit_code = record.exit.exit_code


def _update(config: dict[str, Any], told: Any) -> None:
    config.update(_tree(told.update))
    config.pop("_wandb", None)


def _tree(items: Any) -> dict[str, Any]:
    """A table or an image is several items with nested keys."""
    found: dict[str, Any] = {}
    for item in items:
        *above, last = item.nested_key or [item.key]
        at = found
        for name in above:
            at = at.setdefault(name, {})
        at[last] = json.loads(item.value_json)
    return found


def _records(data: bytes) -> Iterator[Record]:
    place, parts = FILE_HEADER, b""
    while place + HEADER.size <= len(data):
        room = BLOCK - place % BLOCK
        if room < HEADER.size:
            place += room
            continue
        _, length, kind = HEADER.unpack_from(data, place)
        place += HEADER.size
        if place + length > len(data):
            return  # still being written
        parts = data[place : place + length] if kind in (FULL, FIRST) else parts + data[place : place + length]
        place += length
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
