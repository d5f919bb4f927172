"""What every teacher promises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from apo_lightning.types import Study, Trajectory


@runtime_checkable
class Teacher(Protocol):
    """A named source of trajectories.

    Attributes:
        name: the key under ``teachers:`` in the experiment.
        gives: ``text`` (trajectories only) or ``logits`` (also token distributions).
        later: names of settings that came after results were stored, and change nothing at their defaults: a kind that
            has some keeps them out of keys there. It need not have this.
    """

    name: str

    @property
    def gives(self) -> str: ...

    def signal(self, studies: Sequence[Study], t: Sequence[float]) -> list[Trajectory]:
        """Trajectories of ``studies``, in their order; ``t`` in [0, 1] is the place of each in the stream.

        A study for which the teacher has none is left out. The answer to a study depends on nothing but the settings,
        the study and its t: neither on the other studies nor on how often one asks.

        Raises:
            ValueError: ``t`` has another length than ``studies``, or leaves [0, 1].
        """
        ...


def check_stream(studies: Sequence[Study], t: Sequence[float]) -> None:
    """Refuse places that do not belong to ``studies``.

    Raises:
        ValueError: another length, or a place outside [0, 1].
    """
    if len(studies) != len(t):
        raise ValueError(f"t must have one value per study, got {len(t)} for {len(studies)} studies")
    for study, place in zip(studies, t, strict=True):
        if not 0 <= place <= 1:
            raise ValueError(f"t must lie in [0, 1], got {place} for study '{study.id}'")


def by_study(trajectories: Iterable[Trajectory]) -> dict[str, dict[str, Trajectory]]:
    """Study id to teacher name to trajectory, both in the order in which they come."""
    index: dict[str, dict[str, Trajectory]] = {}
    for trajectory in trajectories:
        index.setdefault(trajectory.study, {})[trajectory.teacher] = trajectory
    return index
