"""Trajectories from a JSONL file: one line a (study, teacher), as ``collect`` writes them or as others deliver them.

    {"study": "s1", "teacher": "gpt5", "text": "No edema. ...", "t": 0.25}

``t`` is optional. A study that a teacher does not have is left out, so the number of teachers varies by study. An empty
text is kept here: the stages filter and count it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import check_stream
from apo_lightning.types import Study, Trajectory

KEYS = {"study": True, "teacher": True, "text": True, "t": False}
"""Key to whether a line must have it."""


@TEACHERS.register("recorded")
@dataclass(frozen=True)
class Recorded:
    """A teacher whose answers lie in a file.

    Attributes:
        name: the key under ``teachers:``.
        path: JSONL file.
        teacher: the name used inside the file; ``name`` if it is not given.
    """

    name: str
    path: str
    teacher: str | None = None

    gives: ClassVar[str] = "text"

    def signal(self, studies: Sequence[Study], t: Sequence[float]) -> list[Trajectory]:
        """Recorded trajectories of ``studies``, with the recorded ``t`` where the line has one.

        Raises:
            DataError: the file is missing or malformed, or holds nothing of this teacher for any of ``studies``.
        """
        check_stream(studies, t)
        own = _index(self.path).get(self.teacher or self.name, {})
        found = [
            Trajectory(study.id, self.name, own[study.id]["text"], float(own[study.id].get("t", place)))
            for study, place in zip(studies, t, strict=True)
            if study.id in own
        ]
        if studies and not found:
            raise self._nothing(studies, own)
        return found

    def _nothing(self, studies: Sequence[Study], own: dict[str, dict[str, Any]]) -> DataError:
        inside, known = self.teacher or self.name, _index(self.path)
        if inside in known:
            what = f"{len(own)} trajectories of '{inside}', none for the {len(studies)} studies asked for"
            hint = f"Study ids there look like '{next(iter(own))}', here like '{studies[0].id}': make them agree."
        else:
            what = f"no trajectory of '{inside}'"
            hint = f"{did_you_mean(inside, known)} Set teachers.{self.name}.teacher to the name used in the file."
        return DataError(f"teachers.{self.name}: {self.path} has {what}. {hint}")


def read_jsonl(path: str | Path) -> list[Trajectory]:
    """All trajectories of a file, in its order; ``t`` is 0 where a line has none.

    Raises:
        DataError: the file is missing, a line is malformed, or a (study, teacher) stands there twice.
    """
    return [
        Trajectory(row["study"], row["teacher"], row["text"], float(row.get("t", 0.0))) for row in _rows(Path(path))
    ]


def write_jsonl(path: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write one line a trajectory; whoever reads ``path`` meanwhile sees the old file or the whole new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(item)) + "\n" for item in trajectories)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _index(path: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Teacher to study to row. Seven teachers of one file read it once, and again when it changes."""
    try:
        stamp = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return _cached(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _cached(path: str, *stamp: int) -> dict[str, dict[str, dict[str, Any]]]:
    index: dict[str, dict[str, dict[str, Any]]] = {}
    for row in _rows(Path(path)):
        index.setdefault(row["teacher"], {})[row["study"]] = row
    return index


def _unreadable(path: str | Path, error: OSError) -> DataError:
    return DataError(f"Cannot read trajectories from {path}: {error.strerror}. Give the path of a JSONL file.")


def _rows(path: Path) -> list[dict[str, Any]]:
    rows, first = [], {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line, f"{path}:{number}")
        key = (row["study"], row["teacher"])
        if key in first:
            raise DataError(
                f"{path}: study '{key[0]}' of teacher '{key[1]}' stands on lines {first[key]} and {number}. "
                "A teacher answers a study once: remove one of them."
            )
        first[key] = number
        rows.append(row)
    return rows


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        what = f"not JSON ({error.msg} at column {error.colno})"
        raise DataError(f"{where}: {what}. One line is one JSON object.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object with the keys {', '.join(KEYS)}, got {line.strip()[:60]}")
    for key in row:
        if key not in KEYS:
            raise DataError(f"{where}: unknown key '{key}'. {did_you_mean(key, KEYS)}")
    for key in ("study", "teacher", "text"):
        if not isinstance(row.get(key), str):
            got = json.dumps(row[key]) if key in row else "nothing"
            raise DataError(f"{where}: '{key}' must be a string, got {got}")
    place = row.get("t", 0.0)
    if isinstance(place, bool) or not isinstance(place, int | float) or not 0 <= place <= 1:
        raise DataError(f"{where}: 't' must be a number in [0, 1], got {json.dumps(place)}")
    return row
