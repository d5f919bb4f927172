"""All teachers alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.weighting import WEIGHTS
from apo_lightning.weighting.base import Seen, Weighting, Weights


@WEIGHTS.register("uniform")
@dataclass(frozen=True, kw_only=True)
class Uniform(Weighting):
    """All teachers weigh the same.

    `w_u = 1`, whatever weight above 0 the experiment file gives a teacher: arXiv 2510.04142, version 2.
    """

    courses: ClassVar[bool] = True
    differs: ClassVar[bool] = False

    def __call__(self, seen: Seen) -> Weights:
        return seen.everywhere(dict.fromkeys(seen.teachers, 1.0))
