"""A student's adapter on a server, for as long as it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apo_lightning import leader
from apo_lightning.files.atomic import remove
from apo_lightning.hashing.contents import digest, file_digest
from apo_lightning.models import whole_adapter
from apo_lightning.serving.server import Base, Server

FOLDER = "adapter"


@contextmanager
def loaded(server: Server, base: Base, saved: Path | None, place: Path) -> Iterator[str | None]:
    """Inside, the server has all that a saved student has learned as one adapter; yields its name, None of the base
    model. The leader loads it, and takes it back whatever happens.

    Args:
        saved: the student's folder.
        place: a folder of this stage alone, which the server can read.

    Raises:
        ServerError: the server does not take it.
        ArtifactError, ConfigError: the student has no adapter that can be read.
    """
    if saved is None:
        yield None
        return
    folder = place / FOLDER
    try:
        yield leader.from_leader(lambda: _load(server, base, saved, folder))
        leader.barrier()  # the others are still asking
    finally:
        server.give_up()
        if leader.is_leader() and folder.is_dir():
            server.unload(base, _name(folder))
            remove(folder)


def _load(server: Server, base: Base, saved: Path, folder: Path) -> str:
    remove(folder)
    folder.mkdir(parents=True)
    rank = whole_adapter.write(*whole_adapter.chain(saved), folder, base.root)
    server.load(base, _name(folder), folder, rank)
    return _name(folder)


def _name(folder: Path) -> str:
    """What is in it, so that no other weights bear the name, and where: another run takes back its own alone."""
    return f"apo-{file_digest(folder)[:16]}-{digest(str(folder.resolve()))[:8]}"
