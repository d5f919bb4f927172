"""Asking the teachers of an experiment."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from apo_lightning.errors import DataError
from apo_lightning.files.characters import HALF, whole
from apo_lightning.teachers.base import Teacher
from apo_lightning.types import Study, Trajectory

log = logging.getLogger(__name__)


def collect(teachers: Mapping[str, Teacher], studies_by_split: Mapping[str, Sequence[Study]]) -> list[Trajectory]:
    """Ask every teacher about every study, teacher by teacher, in their order. A study's t is its place in its split,
    i / (n - 1). Half characters in a text (lone surrogates, as an answer has that was cut off) become U+FFFD, with a
    warning.

    Raises:
        DataError: two studies have the same id, or a recorded teacher has nothing to say.
    """
    studies = [study for group in studies_by_split.values() for study in group]
    places = [i / max(len(group) - 1, 1) for group in studies_by_split.values() for i in range(len(group))]
    seen: set[str] = set()
    for study in studies:
        if study.id in seen:
            raise DataError(f"Two studies have the id '{study.id}' (splits: {', '.join(studies_by_split)}).")
        seen.add(study.id)
    return _whole([item for teacher in teachers.values() for item in teacher.signal(studies, places)])


def _whole(said: list[Trajectory]) -> list[Trajectory]:
    cut = [item for item in said if HALF.search(item.text)]
    if cut:
        log.warning(
            "%d of %d texts hold half a character (a lone surrogate), which becomes U+FFFD; the first is that of "
            "teacher '%s' on study '%s'.",
            len(cut),
            len(said),
            cut[0].teacher,
            cut[0].study,
        )
    return [replace(item, text=whole(item.text)) if HALF.search(item.text) else item for item in said]
