"""The paper's: every teacher's text as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Negatives


@NEGATIVES.register("raw")
@dataclass(frozen=True, kw_only=True)
class Raw(Negatives):
    """The texts of all teachers as they are.

    `tau_1 .. tau_N`, the raw trajectories of all teachers (arXiv 2510.04142), whatever they say.
    """

    courses: ClassVar[bool] = True
