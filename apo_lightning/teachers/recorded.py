"""Trajectories from a file: JSON lines in a form of `trajectories.records`, or any usual table or JSON (`own_texts`).

A study that a teacher does not have is left out, so the number of teachers varies by study. An empty text is kept here:
the stages filter and count it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from apo_lightning import prompts
from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.own_texts import names, reading
from apo_lightning.own_texts.matching import Matched, doubts, known_of, match
from apo_lightning.own_texts.reading import Said, Texts
from apo_lightning.settings.checks import check_choices
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import check_stream
from apo_lightning.trajectories import records
from apo_lightning.types import Study, Trajectory

log = logging.getLogger(__name__)

MAX_AGAIN = 0.1
"""Share of the studies that may have several texts of one teacher, before somebody has to say which one counts."""
MAX_REFUSED = 0.05
"""Share of the texts that may be about any of several studies."""


@TEACHERS.register("recorded")
@dataclass(frozen=True)
class Recorded:
    """A teacher whose answers lie in a file.

    Attributes:
        name: the key under ``teachers:``.
        path: CSV, Parquet, JSON or JSON lines, or a folder of them with a file a teacher.
        teacher: the name used inside the file; ``name`` if it is not given.
        prompt: name of the prompt that the texts answer, where their lines do not say it: with ``explain_labels``, as
            for the texts of CXR-MAX, the teacher was told the labels.
        columns: what is found under other names than the usual ones: ``study`` (or ``image``), ``teacher`` and ``text``
            to the column or key.
        repeated: which of several texts on one study counts, ``first`` or ``last``; ``refuse`` allows none. Not given:
            the last, where at most a tenth of the studies have several.
    """

    name: str
    path: str
    teacher: str | None = None
    prompt: str | None = None
    columns: dict[str, str] | None = None
    repeated: Literal["first", "last", "refuse"] | None = None

    gives: ClassVar[str] = "text"
    later: ClassVar[tuple[str, ...]] = ("prompt", "columns", "repeated")

    def __post_init__(self) -> None:
        check_choices(self)
        for key in self.columns or {}:
            if key not in names.KEYS:
                raise ValueError(f"columns names no '{key}'. {did_you_mean(key, names.KEYS)}")
        if self.prompt is not None:
            prompts.load(self.prompt)  # a name that is none would take the warning away

    def signal(self, studies: Sequence[Study], t: Sequence[float]) -> list[Trajectory]:
        """Recorded trajectories of ``studies``, with the recorded ``t`` where the line has one.

        Raises:
            DataError: the file is missing or malformed, holds nothing of this teacher for any of ``studies``, or too
                many of its texts are repeated or may be about several studies.
        """
        check_stream(studies, t)
        if not studies:
            return []
        own = self.matched(studies)
        self._refuse(own, studies)
        return [
            self._said(own.said[study.id], study, place)
            for study, place in zip(studies, t, strict=True)
            if study.id in own.said
        ]

    def texts(self) -> Texts:
        """All that the file holds, of other teachers too.

        Raises:
            DataError: it cannot be read, or holds no texts.
        """
        return reading.read(self.path, self.columns)

    def matched(self, studies: Sequence[Study]) -> Matched:
        """This teacher's texts beside ``studies``.

        Raises:
            DataError: as `texts`, or the file has no such teacher.
        """
        texts = self.texts()
        held, wanted = texts.teachers(), self.teacher or self.name
        inside = names.resolve(wanted, [name for name in held if name])
        if inside is None and "" not in held:
            raise DataError(
                f"teachers.{self.name}: {self.path} has no trajectory of '{wanted}'. {did_you_mean(wanted, held)} Set "
                f"teachers.{self.name}.teacher to the name used in the file."
            )
        own = [one for one in texts.said if one.teacher == (inside or "")]
        return match(own, known_of((study.id, study.images) for study in studies), self.repeated == "first")

    def _said(self, said: Said, study: Study, place: float) -> Trajectory:
        asked = said.prompt or self.prompt or ""
        return Trajectory(study.id, self.name, said.text, place if said.t is None else said.t, asked)

    def _refuse(self, own: Matched, studies: Sequence[Study]) -> None:
        """What is wrong with too many texts stops a run, what is odd in a few is warned of."""
        head = f"teachers.{self.name}: {self.path}"
        lost, may_be = doubts(own.strangers, own.silent, [study.id for study in studies])
        count = sum(own.by.values()) + len(own.strangers) + len(own.refused)
        if lost:
            text, why = min(lost.items())
            raise DataError(
                f"{head} names the study '{text}': {why} ({len(lost):,} such ids). Write them as the data set does."
            )
        if len(own.refused) > MAX_REFUSED * count:
            why = next(iter(own.refused.values()))
            raise DataError(
                f"{head}: {why} ({len(own.refused):,} of {count:,} texts). Give study ids, or longer paths."
            )
        if not own.said:
            raise DataError(
                f"{head} has {count} trajectories of '{self.teacher or self.name}', none for the {len(studies)} "
                f"studies asked for. Study ids there look like {_examples(own.strangers)}, here like "
                f"{_examples([study.id for study in studies])}: make them agree."
            )
        if own.again and (self.repeated == "refuse" or (not self.repeated and _many(own))):
            raise DataError(f"{head}: {_twice(own, self.teacher or self.name)}")
        if may_be:
            text, study = min(may_be.items())
            log.warning(
                "%s has %d texts of ids that are no studies here but may be: '%s' may be '%s'. They are left out; "
                "write them as the data set does.",
                head,
                len(may_be),
                text,
                study,
            )


def _many(own: Matched) -> bool:
    return len(own.again) > MAX_AGAIN * len(own.said)


def _twice(own: Matched, teacher: str) -> str:
    study, (one, other, *_) = next(iter(own.again.items()))
    places = [said.where.rpartition(":") for said in (one, other)]
    lines = places[0][0] == places[1][0] and all(number.isdigit() for *_, number in places)
    where = f"on lines {places[0][2]} and {places[1][2]}" if lines else f"at {one.where} and at {other.where}"
    named = f", as '{one.names[0]}' and as '{other.names[0]}'" if one.names[0] != other.names[0] else ""
    return (
        f"study '{study}' of teacher '{teacher}' stands {where}{named} ({len(own.again):,} of {len(own.said):,} "
        "studies have several texts). A teacher answers a study once: remove one of them, or say which counts: "
        "repeated=last, or first."
    )


def _examples(names: Iterable[str], most: int = 3) -> str:
    return ", ".join(f"'{name}'" for name in list(dict.fromkeys(names))[:most]) or "none"


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
