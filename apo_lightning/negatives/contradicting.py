"""Only the teachers' texts that contradict t+."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Branch, Negatives, Seen, at_least_one
from apo_lightning.text.conflict import conflicting_findings


@NEGATIVES.register("contradicting")
@dataclass(frozen=True, kw_only=True)
class Contradicting(Negatives):
    """The texts of teachers that contradict t+.

    `{tau_u : |F(tau_u, t+)| >= findings}`, F being the findings in which a sentence of tau_u contradicts t+
    (`text.conflict`), sides included. Whoever agrees with t+ is thus never pushed down, its wording neither.

    Attributes:
        findings: in how many a text must contradict t+.
    """

    leaves_out: ClassVar[str] = "not_contradicting"

    findings: int = 1

    def __post_init__(self) -> None:
        at_least_one(findings=self.findings)

    def kept(self, seen: Seen, study: str, answers: Sequence[Branch]) -> Sequence[Branch]:
        return [answer for answer in answers if len(against_preferred(seen, study, answer.text)) >= self.findings]


def against_preferred(seen: Seen, study: str, text: str) -> list[str]:
    """Findings in which a text contradicts the study's t+."""
    return conflicting_findings(seen.as_read(text), seen.as_read(seen.preferred[study]), seen.findings)
