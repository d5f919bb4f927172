"""Looking after a store: what is damaged in it, what may be taken away, and taking it away."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.store import BESIDE, Item, holder, is_finished, size
from apo_lightning.files import locks
from apo_lightning.hashing import inventory

DOOMED = ".{}.removed.tmp"
"""What a stage is called while it goes; no run takes that for a stage."""


def damage(item: Item) -> str:
    """How an item differs from what was written, all of it read anew, with the command that removes it; empty where it
    does not."""
    try:
        if item.is_cache:
            from apo_lightning.caches.tensor_store import TensorStore  # torch, which a list can do without

            TensorStore(item.path, None).check()
        elif item.finished:
            inventory.check(item.path, inventory.read(item.path), anew=True)
    except ArtifactError as error:
        return str(error)
    return ""


def spared(gone: Sequence[Item], everything: Sequence[Item]) -> dict[Path, str]:
    """Which of the items that should go stay, and why: those that a run uses now, and those that a stage which stays
    was made from, unless no run shows that one."""
    kept = {item.path: f"in use by {item.user}" for item in gone if item.user}
    going = {item.path.name: item for item in gone if not item.user}
    todo = [item for item in everything if item.path.name not in going and (item.links or item.user)]
    while todo:
        above = todo.pop()
        for name in above.made_of & going.keys():
            item = going.pop(name)
            kept[item.path] = f"{above.path.name} was made from it"
            todo.append(item)
    return kept


def take_away(item: Item) -> bool:
    """Remove an item, unless a run has begun to use it or has made it anew since it was looked at; says whether."""
    if item.is_cache:
        for path in (item.path, *(item.path.with_name(item.path.name + end) for end in BESIDE)):
            path.unlink(missing_ok=True)
        return True
    if item.path.is_symlink() or holder(item.path):
        return False
    doomed = item.path.with_name(DOOMED.format(item.path.name))
    with locks.held(item.path.with_name(f"{item.path.name}.lock"), item.path.name, lambda text: None):
        if is_finished(item.path) != item.finished or size(item.path) != item.size:
            return False
        item.path.rename(doomed)
    shutil.rmtree(doomed)
    return True


def finish(store: Path) -> None:
    """Remove what an interrupted `take_away` left."""
    for path in store.glob(DOOMED.format("*")):
        shutil.rmtree(path)
