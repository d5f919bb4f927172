"""Tensors on disk under content keys, in one SQLite file that several processes read and write at once."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from apo_lightning.errors import ArtifactError
from apo_lightning.files.atomic import system_error
from apo_lightning.files.disk import FULL

log = logging.getLogger(__name__)

FORMAT = {"store format": "apo-lightning tensors 1"}
TIMEOUT = 60.0
"""Seconds that one process waits for another one's transaction."""
ELSEWHERE = "Delete the file (rm), and it is computed again, or point to another file."
SCHEMA = (
    "CREATE TABLE meta (field TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL)",
)


class TensorStore:
    """A mapping of bytes to named tensors that outlives the process.

    A transaction is written whole or not at all: a kill loses what `put_many` had not returned from, nothing else.
    Connections belong to a process and a thread and are opened when they are needed, so that a store can be pickled,
    and used on both sides of a fork. A file of zero bytes is an empty store: a kill while it is created leaves one.

    Args:
        path: the file; it and its folder are made with the first access.
        identity: what every row depends on beside its key, readable in the file: hashes and names, never a text; None:
            whatever the file says, to look at it.

    Attributes:
        hits, misses: keys that were looked up and found, or not. A loader worker counts in its own copy.
        written: rows that were new to the file.

    Raises:
        ArtifactError: the file is no store, is cut off, or is of another identity (each field that differs is named).
    """

    def __init__(self, path: Path, identity: Mapping[str, str] | None) -> None:
        self.path, self.identity = Path(path).absolute(), None if identity is None else dict(identity)
        self.hits = self.misses = self.written = 0
        self._told = False
        self._connections: dict[tuple[int, int], sqlite3.Connection] = {}
        if self.path.exists() and (identity is not None or self.path.stat().st_size):
            with self._open():
                pass

    def __reduce__(self) -> tuple[type[TensorStore], tuple[Path, dict[str, str] | None]]:
        return type(self), (self.path, self.identity)

    def __contains__(self, key: bytes) -> bool:
        with self._open() as connection:
            return connection.execute("SELECT 1 FROM rows WHERE key = ?", (key,)).fetchone() is not None

    def __len__(self) -> int:
        with self._open() as connection:
            return connection.execute("SELECT COUNT(*) FROM rows").fetchone()[0]

    def get_many(self, keys: Sequence[bytes]) -> list[dict[str, Tensor] | None]:
        """Tensors of each key, on the CPU; None where there is no row.

        Raises:
            ArtifactError: a row is damaged.
        """
        rows: list[tuple[bytes, bytes] | None] = [None] * len(keys)
        with self._unless_full(), self._open() as connection:
            query = "SELECT value, checksum FROM rows WHERE key = ?"
            rows = [connection.execute(query, (key,)).fetchone() for key in keys]
        found = sum(row is not None for row in rows)
        self.hits, self.misses = self.hits + found, self.misses + len(rows) - found
        return [row and self._parse(key, *row) for key, row in zip(keys, rows, strict=True)]

    def facts(self) -> dict[str, str]:
        """The identity that the file has."""
        with self._open() as connection:
            return dict(connection.execute("SELECT field, value FROM meta").fetchall())

    def put_many(self, items: Iterable[tuple[bytes, Mapping[str, Tensor]]], *, replace: bool = False) -> None:
        """Add rows in one transaction. A key that is there already keeps its row, unless ``replace`` is true. On a full
        disk nothing is added, and a warning says so once: what is stored here can be computed again."""
        rows = []
        for key, tensors in items:
            # a copy: safetensors refuses tensors that share memory, as views of one batch do
            value = save(
                {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
            )
            rows.append((key, value, _checksum(key, value)))
        with self._unless_full():
            with self._open() as connection, connection:
                added = "INSERT OR REPLACE" if replace else "INSERT OR IGNORE"
                new = connection.executemany(f"{added} INTO rows VALUES (?, ?, ?)", rows).rowcount
            self.written += new  # counted once the transaction is through

    def check(self) -> None:
        """Read every row. A file of zero bytes has none.

        Raises:
            ArtifactError: a row is damaged.
        """
        if self.path.stat().st_size:
            with self._open() as connection:
                for row in connection.execute("SELECT key, value, checksum FROM rows"):
                    self._parse(*row)

    def close(self) -> None:
        """Close the file in this thread; the next access opens it again."""
        connection = self._connections.pop((os.getpid(), threading.get_ident()), None)
        if connection is not None:
            connection.close()

    def _parse(self, key: bytes, value: bytes, checksum: bytes) -> dict[str, Tensor]:
        where = f"{self.path}: row {key.hex()[:16]} is damaged"
        if not isinstance(value, bytes) or _checksum(key, value) != checksum:
            raise ArtifactError(f"{where} (its checksum differs). {ELSEWHERE}")
        try:
            return load(value)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{where} (its tensors cannot be read: {error}). {ELSEWHERE}") from error

    @contextmanager
    def _unless_full(self) -> Iterator[None]:
        try:
            yield
        except ArtifactError as error:
            cause = system_error(error.__cause__) if error.__cause__ else None
            if cause is None or cause.errno not in FULL:
                raise
            if not self._told:
                log.warning("%s takes no more rows (%s). They are computed again.", self.path, error.__cause__)
                self._told = True

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process and thread. One that came through a fork is neither used nor closed."""
        owner = (os.getpid(), threading.get_ident())
        try:
            if owner not in self._connections:
                self._connections[owner] = self._connect()
            yield self._connections[owner]
        except (sqlite3.Error, OSError) as error:
            raise ArtifactError(f"{self.path} {_trouble(error)}") from error

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=TIMEOUT)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")  # a file from elsewhere may bring triggers of its own
            self._require_whole(connection)
            if not _tables(connection):
                self._create(connection)
            self._require_identity(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if _tables(connection):  # another process was first
                return
            for statement in SCHEMA:
                connection.execute(statement)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", (FORMAT | (self.identity or {})).items())

    def _require_whole(self, connection: sqlite3.Connection) -> None:
        """SQLite rounds a file's size up to pages; a cut inside the last one would read as zeros."""
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if self.path.stat().st_size < pages * size:
            raise ArtifactError(f"{self.path} is cut off in its last page. {ELSEWHERE}")

    def _require_identity(self, connection: sqlite3.Connection) -> None:
        held = dict(connection.execute("SELECT field, value FROM meta").fetchall())
        wanted = FORMAT | (held if self.identity is None else self.identity)
        fields = sorted(field for field in held.keys() | wanted.keys() if held.get(field) != wanted.get(field))
        if fields:
            changed = "; ".join(f"{field} was {held.get(field)!r}, is {wanted.get(field)!r}" for field in fields)
            raise ArtifactError(f"{self.path} was made by something else: {changed}. {ELSEWHERE}")


def _checksum(key: bytes, value: bytes) -> bytes:
    """SHA-256 over key and value, so that a row under a wrong key is found out too."""
    total = hashlib.sha256(key)
    total.update(value)
    return total.digest()


def _tables(connection: sqlite3.Connection) -> int:
    return connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]


def _trouble(error: Exception) -> str:
    """What happened to the file and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells variants apart
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        return f"is not a store of tensors, or is damaged ({error}). {ELSEWHERE}"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"was locked by another process for {TIMEOUT:.0f} s ({error}). Wait for that process, or end it."
    return f"cannot be read or written ({error}). Look at the disk's space and the file's permissions."
