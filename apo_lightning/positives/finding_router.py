"""For every finding the teacher that is most likely right in what it says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Stated, Strategy
from apo_lightning.positives.fusion import told
from apo_lightning.positives.reliability import Reliability, check_smoothing
from apo_lightning.text.mentions import NO_FINDING


@POSITIVES.register("finding_router")
@dataclass(frozen=True, kw_only=True)
class FindingRouter(Strategy):
    """Finding by finding what the teacher says whose statement of it is most reliable, in its own sentence.

    Of all teachers that state finding f of a study, u with the greatest `R_u(f, v_u)` (`positives.reliability`: how
    often u was right on validation studies when it said just this of f) decides; of equals the first teacher. So one
    reliable "absent" overrules six unreliable "present", where a vote would not. Told as ``fusion`` tells a vote: a
    sentence of whoever is most reliable in saying so, else fixed words. ``router`` takes one teacher's whole text
    instead. Validation labels choose; the paper of APO uses none in training.

    Attributes:
        smoothing: what is added to every count of right and wrong (Laplace: 1).
    """

    smoothing: float = 1.0

    uses_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_smoothing(self.smoothing)

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        reliable = Reliability(seen, self.smoothing)
        return seen.each(lambda study: told(seen, study, routed(seen, study, reliable), reliable))


def routed(seen: Evidence, study: str, reliable: Reliability) -> Stated:
    """What the most reliable teacher states of each finding, in the order of the findings; those that nobody states are
    not there, nor is ``no_finding``, which denying all others says."""
    found = {}
    for name in (name for name in seen.findings if name != NO_FINDING):
        said = {who: stated[name] for who, stated in seen.said(study).items() if name in stated}
        if said:
            found[name] = said[max(said, key=lambda who: reliable(who, name, said[who]))]
    return found
