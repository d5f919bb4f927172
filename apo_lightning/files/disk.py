"""What the operating system refuses, as one sentence: a full disk, no permission, a folder where a file should be.

Asked in one place, where a command ends. Those who write only see to it that nothing half-written stays (`files`).
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb

from apo_lightning.files.atomic import removal, system_error

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
KIND = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP})
OTHER = frozenset({errno.EIO, errno.ENAMETOOLONG, errno.ESTALE})
GO_ON = "and give the same command again: it goes on where it stopped."


def explain(error: BaseException) -> str | None:
    """A sentence with the path, what was needed, what is kept and what to do; None for an error of another kind."""
    for cause in _causes(error):
        if cause.errno in FULL:
            return _full(cause)
    direct = next(_causes(error, context=False), None)
    path = Path(os.fsdecode(direct.filename)) if direct is not None and _is_path(direct.filename) else None
    if direct is None or path is None:
        return None
    if direct.errno in KIND:
        return _wrong_kind(path, direct)
    if direct.errno in DENIED:
        return (
            f"{path} cannot be used ({direct.strerror}). It is as it was, and what was finished is kept. Change its "
            f"permissions or choose another place (an experiment's is runs_dir), {GO_ON}"
        )
    if direct.errno in OTHER:
        return f"{path} cannot be used ({direct.strerror}). What was finished is kept. Mend that, {GO_ON}"
    return None


def _full(error: OSError) -> str:
    path = Path(os.fsdecode(error.filename)) if _is_path(error.filename) else None
    needed = getattr(error, "needed", None)
    asked = f", which takes {size_text(needed)}" if needed else ""
    free = f" ({size_text(shutil.disk_usage(_nearest(path)).free)} are free there)" if path else ""
    what = f"{path or f'A file{_writer(error)}'} could not be written{asked}"
    return (
        f"{what}: {error.strerror}{free}. Nothing half-written was left, and what was finished before is kept. "
        f"Make room or choose another disk (an experiment's is runs_dir), {GO_ON}"
    )


def _wrong_kind(path: Path, error: OSError) -> str:
    """The first part of the path that is in the way, and how to remove it."""
    found = next((part for part in (*reversed(path.parents), path) if part.is_symlink() and not part.exists()), None)
    if found is not None:
        what = "is a link that leads nowhere"
    elif error.errno in (errno.EISDIR, errno.ENOTEMPTY):
        found, what = path, "is a folder, where a file or a link should be"
    else:
        found = next((part for part in reversed(path.parents) if part.exists() and not part.is_dir()), path)
        what = "is a file, where a folder should be" if not found.is_dir() else "is there already"
    return f"{found} {what}. What was finished is kept. Rename it, or remove it ({removal(found)}), {GO_ON}"


def _causes(error: BaseException, *, context: bool = True) -> Iterator[OSError]:
    """The system's errors behind an error, the nearest first; of other libraries' errors what they tell of it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if (found := system_error(one)) is not None:
            yield found
        waiting += [one.__cause__, one.__context__ if context else None]
        waiting += [each[0] for each in getattr(one, "failures", {}).values()]  # of torch's sharded checkpoints


def _writer(error: BaseException) -> str:
    """The package that was writing, where no path is known."""
    frames = (frame.f_globals.get("__name__", "").split(".")[0] for frame, _ in walk_tb(error.__traceback__))
    return next((f" of {name}" for name in reversed([*frames]) if name not in sys.stdlib_module_names), "")


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes) and bool(name)


def _nearest(path: Path) -> Path:
    """The nearest folder that exists."""
    return next(part for part in (*path.absolute().parents, Path("/")) if part.is_dir())


def size_text(count: int) -> str:
    """How many bytes that is, as people say it.

    >>> size_text(4_200_000)
    '4.2 MB'
    """
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"
