"""How often a teacher is right when it says a thing: predictive values, counted on validation studies."""

from __future__ import annotations

from collections import Counter

from apo_lightning.positives.teacher_texts import TeacherTexts, Value
from apo_lightning.text.progression import CLASSES

PRESENCE = 2
"""Values that a finding can have: present, absent."""


class Reliability:
    """Share of validation studies on which a teacher was right, of those on which it said this of the finding.

    The positive predictive value where it said "present", the negative one where it said "absent"; of courses one for
    each. Smoothed after Laplace, `(right + s) / (said + s K)` for K values: one that was never said has 1/K.

    Args:
        seen: the teachers' texts and the labels of validation studies.
        smoothing: s > 0, what is added to every count.
    """

    def __init__(self, seen: TeacherTexts, smoothing: float) -> None:
        self.smoothing, self.values = smoothing, len(CLASSES) if seen.courses else PRESENCE
        self.told: Counter[tuple[str, str, Value]] = Counter()
        self.right: Counter[tuple[str, str, Value]] = Counter()
        for study in seen.labelled:
            truth = seen.truth(study)
            for teacher, stated in seen.said(study.id).items():
                for finding, value in stated.items():
                    if finding in truth:
                        self.told[teacher, finding, value] += 1
                        self.right[teacher, finding, value] += truth[finding] == value

    def __call__(self, teacher: str, finding: str, value: Value) -> float:
        """In (0, 1)."""
        key = teacher, finding, value
        return (self.right[key] + self.smoothing) / (self.told[key] + self.smoothing * self.values)


def check_smoothing(smoothing: float) -> None:
    """
    Raises:
        ValueError: it is not a finite number above 0.
    """
    if not 0 < smoothing < float("inf"):
        raise ValueError(f"smoothing must be > 0, got {smoothing}")
