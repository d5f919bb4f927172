"""What answers make up and what they leave out. Letters in shapes: S studies, F findings.

Counted of readable answers alone: whoever refuses, or states nothing, makes nothing up, and has shares of its own
(`findings`). A finding that a readable answer does not state counts as absent, as everywhere; an unknown label adds
nothing. All of it follows from the counts of `findings.FindingOutcomes`, so that no text is read again.

- ``invented``: of the findings that are absent, the share that is stated as present: 1 - specificity.
- ``missed``: of the findings that are present, the share that is not stated as present: 1 - sensitivity.
- ``invented_per_study``, ``missed_per_study``: how many of them an answer has, the mean over readable answers to
  studies with a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from apo_lightning.metrics.findings import FindingOutcomes
from apo_lightning.metrics.outcomes import MEAN, Metrics, Outcomes, each_and_mean, ratio

UNREAD = 2
"""In ``FindingOutcomes.said``: a refusal, or a text that states nothing."""
PER_STUDY = ("invented_per_study", "missed_per_study")


@dataclass(frozen=True, eq=False)
class FaultOutcomes(Outcomes):
    """Of every finding (invented, absent, missed, present), then the number of readable answers.

    Attributes:
        findings: names of the F findings.
    """

    findings: Sequence[str] = field(kw_only=True)

    ranges = dict.fromkeys(PER_STUDY, (0.0, np.inf))

    def metrics(self, sums: np.ndarray) -> Metrics:
        cells = sums[..., :-1].reshape(*sums.shape[:-1], len(self.findings), 4)
        invented, absent, missed, present = np.moveaxis(cells, -1, 0)
        per_study = (ratio(each.sum(axis=-1), sums[..., -1]) for each in (invented, missed))
        return {
            **each_and_mean("invented", self.findings, ratio(invented, absent)),
            **each_and_mean("missed", self.findings, ratio(missed, present)),
            **{(name, MEAN): value for name, value in zip(PER_STUDY, per_study, strict=True)},
        }


def of_answers(found: FindingOutcomes) -> FaultOutcomes:
    """From what was counted of answers.

    Raises:
        ValueError: it was not kept what they said.
    """
    if found.said is None:
        raise ValueError("faults are counted of what answers say, and these outcomes have none (said is None)")
    tables = found.counts[:, : 4 * len(found.findings)].reshape(len(found.counts), len(found.findings), 4)
    readable = (found.said != UNREAD)[..., None]
    right_yes, wrong_yes, wrong_no, right_no = np.moveaxis(tables * readable, -1, 0)
    cells = np.stack([wrong_yes, wrong_yes + right_no, wrong_no, right_yes + wrong_no], axis=-1)
    answered = (cells[..., 1] + cells[..., 3] > 0).any(axis=1)
    counts = np.concatenate([cells.reshape(len(cells), 4 * len(found.findings)), answered[:, None]], axis=1)
    return FaultOutcomes(found.patients, counts, findings=found.findings)
