"""The weights of the experiment file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.weighting import WEIGHTS
from apo_lightning.weighting.base import Seen, Weighting, Weights


@WEIGHTS.register("user")
@dataclass(frozen=True, kw_only=True)
class User(Weighting):
    """A teacher weighs what the experiment file says.

    `w_u` is ``teachers.<u>.weight``, 1 where nothing is said. The paper gives no numbers.
    """

    courses: ClassVar[bool] = True

    def __call__(self, seen: Seen) -> Weights:
        return seen.everywhere(seen.given)
