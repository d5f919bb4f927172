"""The teacher that the others agree with, study by study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Strategy
from apo_lightning.text.conflict import agreement


@POSITIVES.register("most_agreed")
@dataclass(frozen=True, kw_only=True)
class MostAgreed(Strategy):
    """The teacher's text that agrees best with those of the others in what they state (minimum Bayes risk).

    The measure is that of the student's own consensus, `metrics.conflict.agreement`: sides count as well. A text alone
    is taken as it is; of equals the first teacher. Refusals, missing texts and those that state none of the findings
    have no part. No label is looked at.
    """

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        return seen.each(lambda study: seen.chosen(study, _most_agreed(seen, study)))


def _most_agreed(seen: Evidence, study: str) -> str | None:
    texts = {name: seen.as_read(seen.texts[study][name]) for name in seen.said(study)}
    # fsum: the same in whatever order the others come, unlike `metrics.conflict.most_agreed`
    scores = {
        name: fsum(agreement(text, other, seen.findings) for them, other in texts.items() if them != name)
        for name, text in texts.items()
    }
    return max(scores, key=scores.__getitem__, default=None)
