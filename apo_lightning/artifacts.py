"""Run folders: content hashes, atomic writes, manifests. A stage whose inputs hash the same is never run twice."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from apo_lightning import inventory, locks
from apo_lightning.digests import digest, file_digest
from apo_lightning.errors import ArtifactError
from apo_lightning.files import TEMPORARY, removal, remove, replacing, write_text
from apo_lightning.inventory import UNIMPORTANT
from apo_lightning.jsonlines import again, plain
from apo_lightning.jsonlines import read as read_jsonl
from apo_lightning.jsonlines import write as write_jsonl
from apo_lightning.sources import changed

log = logging.getLogger(__name__)

__all__ = [
    "RunFolder", "StageFolder", "differences", "digest", "file_digest", "provenance", "read_json", "read_jsonl",
    "write_json", "write_jsonl", "write_text",
]  # fmt: skip

NUMERIC = ("torch", "transformers", "peft", "tokenizers")
"""Libraries with whose major or minor version the numbers of a student may change."""
PACKAGES = (*NUMERIC, "lightning", "monai", "torchmetrics", "wandb", "omegaconf", "numpy")
PRUNABLE = ("checkpoints", "parts")
"""What only an interrupted stage needs."""


def write_json(path: Path, content: Any) -> Path:
    """``content`` as JSON; what JSON does not know (NaN) is null."""
    return write_text(path, json.dumps(plain(content), indent=2, default=str) + "\n")


def read_json(path: Path) -> Any:
    """A JSON file that this project wrote.

    Raises:
        ArtifactError: it is missing or damaged; the message says what to remove.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        what = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path} is missing or damaged ({what}). {again(path.parent)}") from error


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
    """Where one stage writes. Its name carries the hash of everything that its result depends on.

    Args:
        root: the store.
        stage: its name.
        inputs: what the result depends on; ``sources`` is the source behind it (`sources.sources_of`), and a stage that
            it was made from stands there as its folder.

    Attributes:
        key: hash of all inputs, with those of the stages before.
        settings_key: the same without any source: it finds results of other versions of the code.
    """

    def __init__(self, root: Path, stage: str, inputs: Mapping[str, Any]) -> None:
        self.stage, self.root = stage, root
        self.inputs = {name: own.key if isinstance(own, StageFolder) else own for name, own in inputs.items()}
        self.key = digest(self.inputs)
        settings = {name: own.settings_key if isinstance(own, StageFolder) else own for name, own in inputs.items()}
        self.settings_key = digest({name: own for name, own in settings.items() if name != "sources"})
        self.path = root / f"{stage}-{self.key[:12]}"

    @property
    def done(self) -> bool:
        """True once `finish` was called.

        Raises:
            ArtifactError: the folder belongs to other inputs, or its manifest is damaged.
        """
        manifest = self.path / "manifest.json"
        if not os.path.lexists(manifest):
            return False
        record = self.manifest()
        made_of = record.get("inputs_sha256")
        if made_of != self.key:
            raise ArtifactError(
                f"{self.path} was made by another configuration ({str(made_of)[:12]}). Remove it and run again: "
                f"{removal(self.path)}"
            )
        inventory.check(self.path, record)
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
        """Make the folder ready for its stage: no half-written files, and nothing else where it keeps its parts.

        Raises:
            ArtifactError: something that is no folder has the folder's name.
        """
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise ArtifactError(f"{self.path} is no folder. Remove it and run again: {removal(self.path)}")
        ours = [self.path / name for name in (*PRUNABLE, "config.yaml", "metrics.jsonl")]
        wrong = [path for path in ours if os.path.lexists(path) and path.is_dir() != (path.name in PRUNABLE)]
        for path in wrong:
            log.warning("%s is %s: it is made anew.", path, "a folder" if path.is_dir() else "no folder")
        outputs = [self.path / name for name in inventory.OUTPUTS]  # of a stage that lost its manifest
        for path in (*wrong, *outputs, *self.path.glob(TEMPORARY)):
            remove(path)
        write_text(self.path / "config.yaml", yaml.safe_dump(json.loads(json.dumps(self.inputs, default=str))))
        return self

    def finish(self, **facts: Any) -> StageFolder:
        """Mark as complete and drop what only a restart would have needed."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        keys = {"inputs_sha256": self.key, "settings_sha256": self.settings_key}
        record = {"stage": self.stage, **keys, "sources": self.inputs.get("sources", {}), "finished": stamp}
        record |= {**provenance(), **facts}
        record["files"] = inventory.take(self.path, leave_out=PRUNABLE)
        write_json(self.path / "manifest.json", inventory.sealed(record))
        for name in PRUNABLE:
            shutil.rmtree(self.path / name, ignore_errors=True)
        return self

    def edited(self) -> list[str]:
        """Files whose source has changed since the newest stored result with these settings; none where there is no
        such result."""
        alike = []
        for path in self.root.glob(f"{self.stage}-*/{inventory.MANIFEST}"):
            with suppress(ArtifactError):  # a damaged one explains nothing
                record = inventory.read(path.parent)
                if record.get("settings_sha256") == self.settings_key and isinstance(record.get("sources"), dict):
                    alike.append(record)
        if not alike:
            return []
        newest = max(alike, key=lambda record: str(record.get("finished", "")))
        return changed(newest["sources"], self.inputs.get("sources", {}))

    def other_versions(self) -> list[str]:
        """Libraries of `NUMERIC` of which another major or minor version made the stored result."""
        before, now = self.manifest().get("versions", {}), provenance()["versions"]
        return [
            f"{name} {before[name]} (here {now[name]})"
            for name in NUMERIC
            if name in before and before[name].split(".")[:2] != now[name].split(".")[:2]
        ]

    def manifest(self) -> dict[str, Any]:
        """
        Raises:
            ArtifactError: it is missing or damaged.
        """
        return inventory.read(self.path)


MEASURED_ANEW = "evaluate.report_text"
"""Settings under which stored answers are only measured in another way: the table is written anew."""
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
        before = _held(held) if os.path.lexists(held) else config
        changed = [f"{key} was {a!r}, is {b!r}" for key, a, b in differences(before, config)]
        if not changed:
            return
        anew = all(key.startswith(MEASURED_ANEW) for key, *_ in differences(before, config))
        running = next((locks.owner(path) for path in sorted(self.path.glob(RUNNING)) if locks.alive(path)), None)
        if running or (self._has_results() and not anew):
            raise ArtifactError(
                f"{self.path} was made by another configuration: {'; '.join(changed[:8])}. "
                + (f"It is in use by {running}. " if running else "")
                + f"Keep both by adding name={config['name']}_2, or remove {self.path} ({removal(self.path)}): "
                "finished stages are kept in the store and are not trained again."
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
        if os.path.lexists(place) and not place.is_symlink():
            raise ArtifactError(
                f"{place} is in the way of a link to {folder.path}: a copy of the run folder, perhaps. What is "
                f"stored is kept. Rename it, or remove it and run again: {removal(place)}"
            )
        with replacing(place) as scratch:
            scratch.symlink_to(os.path.relpath(folder.path, place.parent), target_is_directory=True)

    def finish(self, config: Mapping[str, Any], **facts: Any) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        command = " ".join(["python -m apo_lightning", *sys.argv[1:]])
        record = {"experiment": config["name"], "created": stamp, "command": command, "seeds": config["seeds"]}
        record |= {**provenance(), **facts, "files": inventory.take(self.path, only=self._read_by_reports())}
        record |= {"links": inventory.links(self.path), "settings_sha256": inventory.settings_digest(config)}
        write_json(self.path / "manifest.json", inventory.sealed(record))

    def _read_by_reports(self) -> list[Path]:
        named = ("results", "intervals", "differences", "tests", "agreement")
        tables = [*(self.path / f"{name}.csv" for name in named), self.path / "failures.json"]
        further = [self.path / "sets" / "sets.json", *sorted((self.path / "sets").glob("*/*.csv"))]
        return [*tables, *further, *sorted((self.path / "samples").glob("*"))]


def _held(path: Path) -> dict[str, Any]:
    """The configuration that a run folder belongs to.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        content = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError) as error:
        content, what = None, str(getattr(error, "strerror", None) or error).split("\n")[0]
    else:
        what = "it is no mapping of settings"
    if not isinstance(content, dict):
        raise ArtifactError(
            f"{path} is damaged ({what}), so that it is unknown whose results are beside it. If they are this "
            f"experiment's, remove it and run again: {removal(path)}"
        )
    return content


def differences(before: Any, now: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ between two nested mappings, with both values.

    >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
    [('a.b', 1, 2)]
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = [name for name in {**before, **now} if key or name not in UNIMPORTANT]
        below = [differences(before.get(n), now.get(n), f"{key}.{n}" if key else str(n)) for n in names]
        return [row for rows in below for row in rows]
    nothing = not any(value not in (None, {}) for value in (before, now))  # a setting that an earlier version had not
    return [] if before == now or nothing else [(key, before, now)]
