"""How often each teacher is right, and who is right most often on validation studies."""

from __future__ import annotations

from collections.abc import Sequence

from apo_lightning.metrics.answers import dict_of, text_outcomes
from apo_lightning.metrics.outcomes import MEAN, Outcomes
from apo_lightning.text.progression import judges_progression
from apo_lightning.types import Study, Trajectory


def best_teacher(
    trajectories: Sequence[Trajectory], studies: Sequence[Study], names: Sequence[str], findings: Sequence[str]
) -> str:
    """The teacher with the highest mean accuracy on ``studies`` (the validation split); the first of equals."""
    reached = mean_accuracies(trajectories, studies, names, findings)
    return max(names, key=reached.__getitem__)


def mean_accuracies(
    trajectories: Sequence[Trajectory], studies: Sequence[Study], names: Sequence[str], findings: Sequence[str]
) -> dict[str, float]:
    """Teacher to its mean accuracy over ``findings``; of courses, where ``studies`` are labelled with these."""
    metric = "progression_accuracy" if judges_progression(studies) else "accuracy"
    reached = {name: dict_of(teacher_outcomes(trajectories, studies, name, findings).rows()) for name in names}
    return {name: values[metric, MEAN] for name, values in reached.items()}


def teacher_outcomes(
    trajectories: Sequence[Trajectory], studies: Sequence[Study], name: str, findings: Sequence[str]
) -> Outcomes:
    """What one teacher's own texts get right."""
    return text_outcomes({t.study: t.text for t in trajectories if t.teacher == name}, studies, findings)
