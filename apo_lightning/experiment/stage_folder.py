"""Where one stage writes: content hashes, atomic writes, a manifest. A stage whose inputs hash the same is never run
twice."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment import signposts
from apo_lightning.files import locks
from apo_lightning.files.atomic import TEMPORARY, removal, remove
from apo_lightning.files.formats import write_json, write_yaml
from apo_lightning.hashing import inventory
from apo_lightning.hashing.contents import digest
from apo_lightning.hashing.sources import changed

NUMERIC = ("torch", "transformers", "peft", "tokenizers")
"""Libraries with whose major or minor version the numbers of a student may change."""


PACKAGES = (*NUMERIC, "lightning", "monai", "torchmetrics", "wandb", "omegaconf", "numpy")


CODE = Path(__file__).parents[2]
"""Where this library lies: a checkout of its own, or where packages are installed."""


PRUNABLE = ("checkpoints", "parts")
"""What only an interrupted stage needs."""


@cache
def provenance() -> dict[str, Any]:
    """Versions, commit and machine of this process."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": commit(CODE) or "unknown",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def commit(folder: Path) -> str:
    """What git calls the state of a checkout; empty where ``folder`` is no root of one: an installed library may lie in
    a repository of somebody else, which is not asked and of whose commits it knows nothing."""
    if not (folder / ".git").exists():
        return ""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    words = ["git", "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=own, check=False).stdout
    except OSError:  # no git here
        return ""
    return said.strip()


log = logging.getLogger(__name__)


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
        made_of: the stages that it was made from, by name, with their keys.
    """

    def __init__(self, root: Path, stage: str, inputs: Mapping[str, Any]) -> None:
        self.stage, self.root = stage, root
        self.made_of = {own.stage: own.key for own in inputs.values() if isinstance(own, StageFolder)}
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
        record = inventory.read(self.path)
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
        write_yaml(self.path / "config.yaml", self.inputs)
        return self

    def finish(self, **facts: Any) -> StageFolder:
        """Mark as complete and drop what only a restart would have needed."""
        signposts.put(self.path)
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        keys = {"inputs_sha256": self.key, "settings_sha256": self.settings_key}
        made = {"sources": self.inputs.get("sources", {}), "made_of": self.made_of}
        record = {"stage": self.stage, **keys, **made, "finished": stamp}
        record |= {**provenance(), **facts}
        record["files"] = inventory.take(self.path, leave_out=PRUNABLE)
        write_json(self.path / "manifest.json", inventory.sealed(record))
        for name in PRUNABLE:
            shutil.rmtree(self.path / name, ignore_errors=True)
        return self

    def why_anew(self) -> list[str]:
        """Why the newest stored result with these settings is not taken, a sentence each; none where there is no such
        result."""
        alike = []
        for path in self.root.glob(f"{self.stage}-*/{inventory.MANIFEST}"):
            with suppress(ArtifactError):  # a damaged one explains nothing
                record = inventory.read(path.parent)
                if record.get("settings_sha256") == self.settings_key and isinstance(record.get("sources"), dict):
                    alike.append(record)
        if not alike:
            return []
        newest = max(alike, key=lambda record: str(record.get("finished", "")))
        edited = changed(newest["sources"], self.inputs.get("sources", {}))
        before = newest.get("made_of", self.made_of)
        anew = [stage for stage, key in self.made_of.items() if before.get(stage) != key]
        said = [f"source of {listed(edited)} changed"] if edited else []
        return [*said, *(f"{stage} was made anew" for stage in anew)]

    def other_versions(self) -> list[str]:
        """Libraries of which another major or minor version made the stored result."""
        return other_versions(inventory.read(self.path))


def other_versions(record: Mapping[str, Any]) -> list[str]:
    """Libraries of `NUMERIC` of which another major or minor version made the result of a manifest."""
    before, now = record.get("versions", {}), provenance()["versions"]
    return [
        f"{name} {before[name]} (here {now[name]})"
        for name in NUMERIC
        if name in before and before[name].split(".")[:2] != now[name].split(".")[:2]
    ]


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more there are.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
