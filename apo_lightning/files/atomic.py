"""Writing: a reader sees the old file or the whole new one, and a write that fails leaves nothing behind.

Content is flushed to the disk before it gets its name: without that a power cut leaves a file of zeros.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from apo_lightning.errors import DataError

SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR_WRITE: errno.EDQUOT,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}
"""What SQLite's codes mean; a write that a quota refuses is one of input and output to it."""
TEMPORARY = ".*.tmp"
"""Pattern of the names that `replacing` gives; one is left only where the process was killed."""


class Unwritten(OSError):
    """An OSError of a write, which by itself names neither the file nor its size.

    Attributes:
        filename: what could not be written.
        needed: bytes that were to be written, None where it is not known.
    """

    def __init__(self, error: OSError, path: Path, needed: int | None = None) -> None:
        super().__init__(error.errno, error.strerror, str(error.filename2 or path))
        self.needed = needed


def system_error(error: BaseException) -> OSError | None:
    """The operating system's error that an error is, or that a library tells of in its own; None if it is none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        number = SQLITE.get(code, SQLITE.get(code & 0xFF))
    elif type(error).__module__ == "builtins":
        return None
    else:  # of safetensors and shutil.copytree
        found = re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", str(error))
        number = int(found[1] or found[2]) if found else None
    return OSError(number, os.strerror(number)) if number else None


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[Path]:
    """A name beside ``path`` (for a file or a folder) that takes its place at the end, and is removed on any error.

    Raises:
        Unwritten: the disk did not take it; ``path`` is as it was.
    """
    scratch = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        if scratch.is_dir() and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        scratch.replace(path)
    except BaseException as error:
        with suppress(OSError):
            remove(scratch)
        if (cause := system_error(error)) is not None:
            raise Unwritten(cause, path, needed) from error
        raise


def write_bytes(path: Path, content: bytes | memoryview) -> Path:
    """
    Raises:
        Unwritten: see `replacing`.
    """
    with replacing(path, len(content)) as scratch, scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path


def write_text(path: Path, text: str) -> Path:
    """``text`` in UTF-8.

    Raises:
        Unwritten: see `replacing`.
        DataError: the text holds half a character, which UTF-8 cannot say.
    """
    try:
        return write_bytes(path, text.encode("utf-8"))
    except UnicodeEncodeError as error:
        near = ascii(text[max(0, error.start - 30) : error.end + 10])
        raise DataError(
            f"{path} cannot be written: half a character (a lone surrogate) stands in {near}. A text was cut inside a "
            "character, or a file name is not UTF-8: mend it where it comes from."
        ) from None


def append(path: Path, content: bytes) -> None:
    """Write at the end of a file; if it cannot be written whole, the file is as it was.

    Raises:
        Unwritten: the disk did not take it.
    """
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            file.truncate(before)
            raise Unwritten(error, path, len(content)) from error


def file_name(text: str) -> str:
    """A name for the file that belongs to ``text``: readable, on every system, and another one for every other text,
    also where a file system takes upper and lower case for the same.

    >>> file_name("p10/s5"), file_name("P10_s5")
    ('p10_s5-c6794c1b33a9', 'p10_s5-db0ccfa4600f')
    """
    readable = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60]
    return f"{readable or '_'}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def remove(path: Path) -> None:
    """Whatever lies there: a file, a folder, a link (not what it leads to) or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def removal(path: Path) -> str:
    """The command that removes what lies at ``path``.

    >>> removal(Path("runs/my run/results.csv"))
    "rm 'runs/my run/results.csv'"
    """
    folder = path.is_dir() and not path.is_symlink()
    return f"rm {'-r ' if folder else ''}{shlex.quote(str(path))}"
