"""One teacher for all studies: the one that was right most often on validation studies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.metrics.teachers import mean_accuracies
from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Strategy
from apo_lightning.positives.teacher_texts import TeacherTexts
from apo_lightning.types import Trajectory


@POSITIVES.register("best_teacher")
@dataclass(frozen=True, kw_only=True)
class BestTeacher(Strategy):
    """The text of the teacher with the highest mean accuracy on validation labels, as ``pool.select=best_on_val``.

    Where it refuses, states nothing or is missing, the next best. Refusals on validation studies count as wrong. Of
    equals the first teacher. The paper uses no labels in training; here validation labels choose.
    """

    uses_labels: ClassVar[bool] = True
    courses: ClassVar[bool] = True

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        ranked = ranking(seen)
        return seen.each(lambda study: seen.chosen(study, next((n for n in ranked if n in seen.said(study)), None)))


def ranking(seen: TeacherTexts) -> list[str]:
    """Teachers by their mean accuracy on validation studies, best first; equals keep their order."""
    reached = accuracies(seen)
    return sorted(seen.teachers, key=lambda name: -reached[name])


def accuracies(seen: TeacherTexts) -> dict[str, float]:
    """Teacher to its mean accuracy on validation studies over the findings that teachers are judged by."""
    texts = [
        Trajectory(study.id, name, seen.as_read(text))
        for study in seen.labelled
        for name, text in seen.texts.get(study.id, {}).items()
    ]
    return mean_accuracies(texts, seen.labelled, seen.teachers, seen.scored)
