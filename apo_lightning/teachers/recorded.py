"""Trajectories from a JSONL file, in either form of `trajectory_files`: one line per trajectory, or one per image.

A study that a teacher does not have is left out, so the number of teachers varies by study. An empty text is kept here:
the stages filter and count it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from apo_lightning import prompts
from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.identifiers.matching import lookalikes, matched, unsure
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import check_stream
from apo_lightning.trajectories import records
from apo_lightning.types import Study, Trajectory

log = logging.getLogger(__name__)


@TEACHERS.register("recorded")
@dataclass(frozen=True)
class Recorded:
    """A teacher whose answers lie in a file.

    Attributes:
        name: the key under ``teachers:``.
        path: JSONL file.
        teacher: the name used inside the file; ``name`` if it is not given.
        prompt: name of the prompt that the texts answer, where their lines do not say it: with ``explain_labels``, as
            for the texts of CXR-MAX, the teacher was told the labels.
    """

    name: str
    path: str
    teacher: str | None = None
    prompt: str | None = None

    gives: ClassVar[str] = "text"
    later: ClassVar[tuple[str, ...]] = ("prompt",)

    def __post_init__(self) -> None:
        if self.prompt is not None:
            prompts.load(self.prompt)  # a name that is none would take the warning away

    def signal(self, studies: Sequence[Study], t: Sequence[float]) -> list[Trajectory]:
        """Recorded trajectories of ``studies``, with the recorded ``t`` where the line has one.

        Raises:
            DataError: the file is missing or malformed, or holds nothing of this teacher for any of ``studies``.
        """
        check_stream(studies, t)
        own = self._joined(_index(self.path).get(self.teacher or self.name, {}), studies)
        found = [
            self._said(own[study.id], study, place) for study, place in zip(studies, t, strict=True) if study.id in own
        ]
        if studies and not found:
            raise self._nothing(studies)
        return found

    def _said(self, row: dict[str, Any], study: Study, place: float) -> Trajectory:
        asked = row.get("prompt") or self.prompt or ""
        return Trajectory(study.id, self.name, row["text"], float(row.get("t", place)), asked)

    def _joined(self, own: dict[str, dict[str, Any]], studies: Sequence[Study]) -> dict[str, dict[str, Any]]:
        """Study to row, however the file writes its studies.

        Raises:
            DataError: the file has one study in two ways of writing, or an id that lost digits.
        """
        ids = {study.id for study in studies}
        rows: dict[str, dict[str, Any]] = {}
        named = matched(own, ids)
        for text, study in named.items():
            if study in rows:
                raise DataError(
                    f"teachers.{self.name}: {self.path} has the study '{study}' twice, as '{rows[study]['study']}' and "
                    f"as '{text}'. A teacher answers a study once: remove one of them."
                )
            rows[study] = own[text]
        if lost := unsure(own.keys() - named.keys(), ids):
            text, why = min(lost.items())
            raise DataError(
                f"teachers.{self.name}: {self.path} names the study '{text}': {why} ({len(lost):,} such ids). Write "
                "them as the data set does."
            )
        doubtful = lookalikes(own.keys() - named.keys(), ids - rows.keys(), "s")
        if doubtful:
            text, study = min(doubtful.items())
            log.warning(
                "teachers.%s: %s has %d texts of ids that are no studies here but may be: '%s' may be '%s'. "
                "They are left out; write them as the data set does.",
                self.name,
                self.path,
                len(doubtful),
                text,
                study,
            )
        return rows

    def _nothing(self, studies: Sequence[Study]) -> DataError:
        inside, known = self.teacher or self.name, _index(self.path)
        if inside in known:
            own = known[inside]
            what = f"{len(own)} trajectories of '{inside}', none for the {len(studies)} studies asked for"
            hint = f"Study ids there look like '{next(iter(own))}', here like '{studies[0].id}': make them agree."
        else:
            what = f"no trajectory of '{inside}'"
            hint = f"{did_you_mean(inside, known)} Set teachers.{self.name}.teacher to the name used in the file."
        return DataError(f"teachers.{self.name}: {self.path} has {what}. {hint}")


def read_jsonl(path: str | Path) -> list[Trajectory]:
    """All trajectories of a file, in its order; ``t`` is 0 where a line has none, and ``prompt`` empty.

    Raises:
        DataError: the file is missing, a line is malformed, or a (study, teacher) stands there twice.
    """
    rows = records.read(Path(path))
    return [
        Trajectory(row["study"], row["teacher"], row["text"], float(row.get("t", 0.0)), row.get("prompt") or "")
        for row in rows
    ]


def write_jsonl(path: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write one line a trajectory; whoever reads ``path`` meanwhile sees the old file or the whole new one."""
    rows = map(asdict, trajectories)
    records.write(path, ({key: value for key, value in row.items() if key != "prompt" or value} for row in rows))


def _index(path: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Teacher to study to row. Seven teachers of one file read it once, and again when it changes."""
    try:
        stamp = Path(path).stat()
    except OSError as error:
        raise records.unreadable(path, error) from None
    return _cached(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _cached(path: str, *stamp: int) -> dict[str, dict[str, dict[str, Any]]]:
    index: dict[str, dict[str, dict[str, Any]]] = {}
    for row in records.read(Path(path)):
        index.setdefault(row["teacher"], {})[row["study"]] = row
    return index
