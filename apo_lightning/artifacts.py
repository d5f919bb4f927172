"""Run folders: content hashes, atomic writes, manifests. A stage whose inputs hash the same is never run twice."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from apo_lightning import locks
from apo_lightning.errors import ArtifactError

PACKAGES = ("torch", "lightning", "transformers", "peft", "monai", "torchmetrics", "wandb", "omegaconf", "numpy")
PRUNABLE = ("checkpoints", "parts")
"""What only an interrupted stage needs."""


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
        with file.open("rb") as source:
            total.update(hashlib.file_digest(source, "sha256").digest())
    return total.hexdigest()


def write_text(path: Path, text: str) -> Path:
    """Write under a temporary name in the same folder, then rename: a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
    return path


def write_json(path: Path, content: Any) -> Path:
    return write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Rows of a file that this project wrote.

    Raises:
        ArtifactError: the file is missing or a line is not JSON.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is missing or damaged ({error}). Remove its folder and run again.") from error


@cache
def provenance() -> dict[str, Any]:
    """Versions, commit and machine of this process."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


class StageFolder:
    """Where one stage writes. Its name carries the hash of everything that its result depends on."""

    def __init__(self, root: Path, stage: str, inputs: Mapping[str, Any]) -> None:
        self.stage, self.inputs, self.key = stage, dict(inputs), digest(inputs)
        self.path = root / f"{stage}-{self.key[:12]}"

    @property
    def done(self) -> bool:
        """True once `finish` was called.

        Raises:
            ArtifactError: the folder belongs to other inputs, or its manifest is damaged.
        """
        manifest = self.path / "manifest.json"
        if not manifest.exists():
            return False
        try:
            made_of = json.loads(manifest.read_text())["inputs_sha256"]
        except (ValueError, KeyError) as error:
            raise ArtifactError(f"{manifest} is damaged ({error!r}). Remove {self.path} and run again.") from error
        if made_of != self.key:
            raise ArtifactError(
                f"{self.path} was made by another configuration ({made_of[:12]}). Remove it and run again."
            )
        return True

    @contextmanager
    def turn(self, what: str, say: locks.Say) -> Iterator[bool]:
        """Inside, True: the result is there. False: this process makes it, and any other that wants it waits.

        Args:
            what: names the stage in what is said while another process makes it.
            say: takes one line of text.
        """
        if self.done:
            yield True
            return
        with locks.held(self.path.with_name(f"{self.path.name}.lock"), what, say):
            yield self.done  # by whom this one has waited for

    def begin(self) -> StageFolder:
        write_text(self.path / "config.yaml", yaml.safe_dump(json.loads(json.dumps(self.inputs, default=str))))
        return self

    def finish(self, **facts: Any) -> StageFolder:
        """Mark as complete and drop what only a restart would have needed."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        record = {"stage": self.stage, "inputs_sha256": self.key, "finished": stamp, **provenance(), **facts}
        write_json(self.path / "manifest.json", record)
        for name in PRUNABLE:
            shutil.rmtree(self.path / name, ignore_errors=True)
        return self

    def manifest(self) -> dict[str, Any]:
        return json.loads((self.path / "manifest.json").read_text())


RUNNING = ".run-*.lock"
"""In a run folder, one file a process that works in it."""


class RunFolder:
    """``<runs_dir>/<experiment>``: links to the stage folders of every arm and seed, the table and the report."""

    def __init__(self, runs_dir: Path, name: str) -> None:
        self.path, self.store = runs_dir / name, runs_dir / "store"

    def require(self, config: Mapping[str, Any]) -> None:
        """See that the folder is free for this configuration. One that holds no results yet is: the run that made it
        stopped at a check, or before anything was trained.

        Raises:
            ArtifactError: it holds another one's results, or another one runs in it now; the message names every
                setting that differs.
        """
        held = self.path / "config.yaml"
        before = (yaml.safe_load(held.read_text()) or {}) if held.exists() else config
        changed = [f"{key} was {a!r}, is {b!r}" for key, a, b in differences(before, config)]
        if not changed:
            return
        running = next((locks.owner(path) for path in sorted(self.path.glob(RUNNING)) if locks.alive(path)), None)
        if running or self._has_results():
            raise ArtifactError(
                f"{self.path} was made by another configuration: {'; '.join(changed[:8])}. "
                + (f"It is in use by {running}. " if running else "")
                + f"Keep both by adding name={config['name']}_2, or remove {self.path} "
                "(finished stages are kept in the store and are not trained again)."
            )

    @contextmanager
    def claim(self, config: Mapping[str, Any], dumped: str, say: locks.Say) -> Iterator[None]:
        """Make the folder this configuration's, and show others that a run works in it while it does.

        Raises:
            ArtifactError: see `require`.
        """
        own = self.path / RUNNING.replace("*", uuid.uuid4().hex[:8])
        with ExitStack() as running:
            with self.alone(say):
                self.require(config)
                write_text(self.path / "config.yaml", dumped)
                running.enter_context(locks.held(own, str(self.path), say))
            yield

    @contextmanager
    def alone(self, say: locks.Say) -> Iterator[None]:
        """While no other run of this folder writes what they share: its configuration, its table, its report."""
        with locks.held(self.path / ".lock", str(self.path), say):
            yield

    def _has_results(self) -> bool:
        """Teachers' texts alone are none: they lie in the store, whatever asks for them next."""
        stages = (path.name for path in self.path.glob("*/seed*/*") if not path.name.startswith("."))
        return (self.path / "results.csv").exists() or any(name != "collect" for name in stages)

    def stage(self, stage: str, inputs: Mapping[str, Any]) -> StageFolder:
        return StageFolder(self.store, stage, inputs)

    def link(self, arm: str, seed: int, folder: StageFolder) -> None:
        """Show a stage folder under its arm and seed."""
        place = self.path / arm / f"seed{seed}" / folder.stage
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = place.with_name(f".{folder.stage}.{uuid.uuid4().hex[:8]}")
        scratch.symlink_to(os.path.relpath(folder.path, place.parent), target_is_directory=True)
        scratch.replace(place)

    def finish(self, config: Mapping[str, Any], **facts: Any) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        command = " ".join(["python -m apo_lightning", *sys.argv[1:]])
        record = {"experiment": config["name"], "created": stamp, "command": command, "seeds": config["seeds"]}
        write_json(self.path / "manifest.json", {**record, **provenance(), **facts})


UNIMPORTANT = frozenset({"seeds", "only", "wandb", "runs_dir", "cache", "acknowledge"})
"""Top-level settings that may differ between runs into one folder: they change what is shown, not its values."""


def differences(before: Any, now: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ between two nested mappings, with both values.

    >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
    [('a.b', 1, 2)]
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = [name for name in {**before, **now} if key or name not in UNIMPORTANT]
        below = [differences(before.get(n), now.get(n), f"{key}.{n}" if key else str(n)) for n in names]
        return [row for rows in below for row in rows]
    return [] if before == now else [(key, before, now)]
