"""What lies in a store: stages and caches, who links them, whether today's source would make them; taking some away."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.run_folder import RUNNING
from apo_lightning.experiment.stage_folder import listed, other_versions
from apo_lightning.files import locks
from apo_lightning.hashing import inventory, sources

SEED = re.compile(r"seed\d+")
CACHE = re.compile(r"(features|reference)-([0-9a-f]{12})\.sqlite")
KEY = re.compile(r"\b[0-9a-f]{64}\b")
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite's own files are named beside a cache."""


@dataclass(frozen=True)
class Item:
    """A stage or a cache.

    Attributes:
        path: its folder or file.
        name: of the stage, or the kind of cache.
        key: hash of all that it depends on; its beginning, where no manifest has the whole.
        made: when it was finished, in seconds since 1970; of a cache or an unfinished stage, written to last.
        size: bytes on the disk.
        links: runs, arms and seeds that show it: ``smoke/apo_listwise/seed0``.
        made_of: names of the stages that it was made from.
        edited: files whose source is another one today.
        versions: libraries of which another version made it.
        damage: why its manifest cannot be read.
        finished: whether the stage came to its end; true of a cache.
        user: who works on it now, or in a run that shows it.
    """

    path: Path
    name: str
    key: str
    made: float
    size: int
    links: tuple[str, ...] = ()
    made_of: frozenset[str] = frozenset()
    edited: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    damage: str = ""
    finished: bool = True
    user: str = ""

    @property
    def is_cache(self) -> bool:
        return self.path.suffix == ".sqlite"

    @property
    def days(self) -> float:
        return (time.time() - self.made) / 86400

    @property
    def state(self) -> str:
        """What is to be said of it beside its name; empty where all is well."""
        said = {
            f"in use by {self.user}": self.user,
            f"damaged ({self.damage})": self.damage,
            "unfinished": not self.finished,
            f"stale: {listed(self.edited, 2)} changed": self.edited,
            f"made with {', '.join(self.versions)}": self.versions,
        }
        return "; ".join(text for text, holds in said.items() if holds)


@dataclass(frozen=True)
class Wanted:
    """Which items are meant; what is not given does not matter. Of caches it is not known who uses them nor by what
    source they were made: the first three leave them out.

    Attributes:
        unlinked: only finished stages that no run shows.
        stale: only stages that today's source, or another version of a library, would make otherwise.
        unfinished: only stages that were interrupted; their checkpoints are what a run goes on from.
        older: only what was made more days ago.
        larger: only what takes more bytes.
    """

    unlinked: bool = False
    stale: bool = False
    unfinished: bool = False
    older: float | None = None
    larger: int | None = None

    def takes(self, item: Item) -> bool:
        asked = (
            (self.unlinked, item.finished and not item.links and not item.is_cache),
            (self.stale, bool(item.edited or item.versions)),
            (self.unfinished, not item.finished),
            (self.older is not None, item.days > (self.older or 0)),
            (self.larger is not None, item.size > (self.larger or 0)),
        )
        return all(holds for is_asked, holds in asked if is_asked)


def items(runs: Path) -> list[Item]:
    """All stages and caches of ``runs/store``, by name and age. Nothing is read but manifests.

    Raises:
        ArtifactError: there is no store.
    """
    store = runs / "store"
    if not store.is_dir():
        raise ArtifactError(f"There is no store in {runs}/. Name the folder that runs lie in: --runs-dir FOLDER.")
    paths = [path for path in store.iterdir() if not path.is_symlink()]
    links, users = _links(runs), _users(runs)
    stages = [_stage(path, links, users) for path in paths if path.is_dir() and inventory.STORED.fullmatch(path.name)]
    caches = [_cache(path, users) for path in paths if path.is_file() and CACHE.fullmatch(path.name)]
    return sorted([*_with_origins(stages), *caches], key=lambda item: (item.is_cache, item.name, item.made))


def _stage(path: Path, links: Mapping[str, Sequence[str]], users: Mapping[str, str]) -> Item:
    name, key = path.name.rsplit("-", 1)
    shown = tuple(links.get(path.name, ()))
    working = (who for run, who in users.items() if any(place.startswith(f"{run}/") for place in shown))
    user = holder(path) or next(working, "")
    item = Item(path, name, key, _written(path), size(path), shown, finished=is_finished(path), user=user)
    try:
        record = inventory.read(path) if item.finished else {}
    except ArtifactError as error:
        return replace(item, damage=_why(error))
    return replace(
        item,
        key=str(record.get("inputs_sha256", key)),
        made=_finished(record, item.made),
        edited=edited(record),
        versions=tuple(other_versions(record)) if record else (),
        made_of=frozenset(f"{stage}-{own[:12]}" for stage, own in record.get("made_of", {}).items()),
    )


def edited(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Files of ours whose source is not what a manifest says, or that are gone, and files of a user's that are found
    and are not. Prompts and weights are not looked up."""
    then = {name: made for name, made in (record.get("sources") or {}).items() if name.endswith(".py")}
    now = {name: _now(name) for name in then}
    return tuple(name for name in then if now[name] != then[name] and (now[name] or not name.startswith("./")))


_now = cache(sources.now)


def _with_origins(stages: Sequence[Item]) -> Iterator[Item]:
    """Those whose manifest does not say what they were made from (an earlier version's, an unfinished one's) have its
    keys in their settings."""
    known = {item.key: item.path.name for item in stages}
    for item in stages:
        if item.made_of:
            yield item
            continue
        with suppress(OSError):
            found = KEY.findall((item.path / "config.yaml").read_text("utf-8", "replace"))
            item = replace(item, made_of=frozenset(known[key] for key in found if key in known))
        yield item


def _cache(path: Path, users: Mapping[str, str]) -> Item:
    name, key = CACHE.fullmatch(path.name).groups()
    whole = [path, *(own for end in BESIDE if (own := path.with_name(path.name + end)).is_file())]
    size, made = sum(own.stat().st_size for own in whole), max(own.stat().st_mtime for own in whole)
    return Item(path, name, key, made, size, user=next(iter(users.values()), ""))


def _links(runs: Path) -> dict[str, list[str]]:
    """Name of a stored stage to the runs, arms and seeds that show it, however deep a sweep's lie."""
    found: dict[str, list[str]] = defaultdict(list)
    for seed in _seeds(runs):
        for path in sorted(path.resolve() for path in seed.iterdir() if path.is_symlink()):
            if path.parent == (runs / "store").resolve():
                found[path.name].append(str(seed.relative_to(runs)))
    return found


def lost_links(runs: Path) -> list[Path]:
    """Links under arms and seeds that lead nowhere."""
    shown = (path for seed in _seeds(runs) for path in sorted(seed.iterdir()))
    return [path for path in shown if path.is_symlink() and not path.exists()]


def _seeds(runs: Path) -> Iterator[Path]:
    return (folder / name for folder, below, _ in _run_folders(runs) for name in below if SEED.fullmatch(name))


def _run_folders(runs: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Folders of runs, outside of the store and of seeds, with what lies in each: folders, files."""
    for place, below, files in os.walk(runs):
        folder = Path(place)
        named = sorted(name for name in below if folder / name != runs / "store")
        below[:] = [name for name in named if not SEED.fullmatch(name)]
        yield folder, named, files


def _users(runs: Path) -> dict[str, str]:
    """Run folder, from ``runs``, to who works in it now."""
    locked = (folder / name for folder, _, files in _run_folders(runs) for name in files if fnmatch(name, RUNNING))
    return {str(path.parent.relative_to(runs)): locks.owner(path) for path in locked if locks.alive(path)}


def holder(path: Path) -> str:
    """Who makes a stage now."""
    lock = path.with_name(f"{path.name}.lock")
    return locks.owner(lock) if lock.exists() and locks.alive(lock) else ""


def is_finished(path: Path) -> bool:
    return os.path.lexists(path / inventory.MANIFEST)


def _finished(record: Mapping[str, Any], otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(record.get("finished"))).timestamp()
    except ValueError:
        return otherwise


def _files(folder: Path) -> Iterator[os.stat_result]:
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # a run may be at work here
                yield Path(place, name).lstat()


def size(folder: Path) -> int:
    """Bytes of all files; what links lead to is not counted."""
    return sum(state.st_size for state in _files(folder))


def _written(folder: Path) -> float:
    return max((state.st_mtime for state in _files(folder)), default=folder.stat().st_mtime)


def _why(error: Exception) -> str:
    """The reason in brackets of what `inventory.read` says."""
    found = re.search(r"is damaged \((.*?)\)\. Remove", str(error))
    return found[1] if found else str(error)
