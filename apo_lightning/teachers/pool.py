"""The teachers of an experiment with their weights, in the order of the configuration."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from apo_lightning.errors import ConfigError, DataError, did_you_mean
from apo_lightning.files.characters import HALF, whole
from apo_lightning.teachers.base import Teacher
from apo_lightning.types import Study, Trajectory

log = logging.getLogger(__name__)


class TeacherPool:
    """Teachers by name.

    Args:
        teachers: name to teacher; the order is kept everywhere.
        weights: name to weight >= 0; teachers that are not named weigh 1.

    Raises:
        ConfigError: there is no teacher, a weight is negative, not finite or of an unknown teacher, or all are 0.
    """

    def __init__(self, teachers: Mapping[str, Teacher], weights: Mapping[str, float] | None = None) -> None:
        self.teachers = dict(teachers)
        given = dict(weights or {})
        if not self.teachers:
            raise ConfigError("teachers must name at least one teacher, got none.")
        for name, weight in given.items():
            if name not in self.teachers:
                raise ConfigError(f"teachers.{name}.weight: no such teacher. {did_you_mean(name, self.teachers)}")
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"teachers.{name}.weight must be >= 0 and finite, got {weight}.")
        self.weights = {name: float(given.get(name, 1.0)) for name in self.teachers}
        if not any(self.weights.values()):
            raise ConfigError(f"teachers.*.weight must not all be 0. Teachers: {', '.join(self.teachers)}.")

    @property
    def names(self) -> list[str]:
        return list(self.teachers)

    def __len__(self) -> int:
        return len(self.teachers)

    def select(self, names: Iterable[str]) -> TeacherPool:
        """The pool of ``names`` alone, in this pool's order.

        Raises:
            ConfigError: one of them is unknown.
        """
        wanted = set(names)
        for name in sorted(wanted - set(self.teachers)):
            raise ConfigError(f"pool.select: no teacher is named '{name}'. {did_you_mean(name, self.teachers)}")
        chosen = {name: teacher for name, teacher in self.teachers.items() if name in wanted}
        return TeacherPool(chosen, {name: self.weights[name] for name in chosen})

    def collect(self, studies_by_split: Mapping[str, Sequence[Study]]) -> list[Trajectory]:
        """Ask every teacher about every study, teacher by teacher. A study's t is its place in its split, i / (n - 1).
        Half characters in a text (lone surrogates, as an answer has that was cut off) become U+FFFD, with a warning.

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
        return _whole([item for teacher in self.teachers.values() for item in teacher.signal(studies, places)])


def _whole(said: list[Trajectory]) -> list[Trajectory]:
    cut = [item for item in said if HALF.search(item.text)]
    if cut:
        log.warning(
            "%d of %d texts hold half a character (a lone surrogate), which becomes U+FFFD; the first is that of "
            "teacher '%s' on study '%s'.", len(cut), len(said), cut[0].teacher, cut[0].study,
        )  # fmt: skip
    return [replace(item, text=whole(item.text)) if HALF.search(item.text) else item for item in said]
