"""The folder of one run: links to the stages of every arm and seed, the table, the report."""

from __future__ import annotations

import os
import shlex
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.stage_folder import StageFolder, provenance, write_json
from apo_lightning.files import locks, yaml_files
from apo_lightning.files.atomic import removal, replacing, write_text
from apo_lightning.hashing import inventory
from apo_lightning.hashing.inventory import UNIMPORTANT

MEASURED_ANEW = "evaluate.report_text"
"""Settings under which stored answers are only measured in another way: the table is written anew."""
WRITES = "student.server"
"""Who writes for the student, which is no part of what is written."""
SHOWN = ".credentialed"
"""End of the keys that say of a data set whether it may be shown: the report and ``samples/`` obey the last run."""
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
        found = [row for row in differences(before, config) if not row[0].startswith(WRITES) and not _shows(row[0])]
        changed = [f"{key} was {a!r}, is {b!r}" for key, a, b in found]
        if not changed:
            return
        anew = all(key.startswith(MEASURED_ANEW) for key, *_ in found)
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
                for left in sorted(self.path.glob(RUNNING)):  # of runs that were killed
                    locks.tidy(left)
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
        command = shlex.join(["python", "-m", "apo_lightning", *sys.argv[1:]])
        record = {"experiment": config["name"], "created": stamp, "command": command, "seeds": config["seeds"]}
        record |= {**provenance(), **facts, "files": inventory.take(self.path, only=self._read_by_reports())}
        record |= {"links": inventory.links(self.path), "settings_sha256": inventory.settings_digest(config)}
        write_json(self.path / "manifest.json", inventory.sealed(record))

    def _read_by_reports(self) -> list[Path]:
        named = ("results", "intervals", "differences", "tests", "agreement", "costs")
        tables = [
            *(self.path / f"{name}.csv" for name in named),
            self.path / "failures.json",
            self.path / "pruning.json",
        ]
        further = [self.path / "sets" / "sets.json", *sorted((self.path / "sets").glob("*/*.csv"))]
        return [*tables, *further, *sorted((self.path / "samples").glob("*"))]


def _shows(key: str) -> bool:
    """
    >>> _shows("data.credentialed"), _shows("evaluate.sets.ward.data.credentialed"), _shows("data.root")
    (True, True, False)
    """
    return key.startswith(("data.", "evaluate.")) and key.endswith(SHOWN)


def _held(path: Path) -> dict[str, Any]:
    """The configuration that a run folder belongs to.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        content = yaml_files.load(path)
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
