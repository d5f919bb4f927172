"""The order-flip test of progression: with the earlier and the current image swapped, a course must be told the other
way round. A student that does not look at the order (or answers from habit) tells the same twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from apo_lightning.metrics.outcomes import Metrics, Outcomes, each_and_mean, ratio

SWAPPED = {"improving": "worsening", "stable": "stable", "worsening": "improving"}


@dataclass(frozen=True, eq=False)
class FlipOutcomes(Outcomes):
    """For every finding the pair (told in both orders and swapped, told in both orders).

    ``flip_consistency`` is their ratio; a finding that is told in both orders of no study has none.

    Attributes:
        findings: names of the F findings, each with a label somewhere.
    """

    findings: Sequence[str] = field(kw_only=True)

    def metrics(self, sums: np.ndarray) -> Metrics:
        pairs = sums.reshape(*sums.shape[:-1], len(self.findings), 2)
        return each_and_mean("flip_consistency", self.findings, ratio(pairs[..., 0], pairs[..., 1]))


def of_flips(
    labels: Sequence[Mapping[str, str]],
    told: Sequence[Mapping[str, str]],
    flipped: Sequence[Mapping[str, str]],
    findings: Sequence[str],
    patients: Sequence[str],
) -> FlipOutcomes:
    """What is counted of the courses that two answers tell, one in each order of the images.

    Args:
        labels: finding to its course for each of S studies; only labelled findings count, whatever the label is.
        told: finding to course as the answer in the right order tells it.
        flipped: the same of the answer with the images swapped.
        findings: those that are looked at; one without any label is left out.
        patients: ``[S]``.
    """
    named = [name for name in findings if any(name in study for study in labels)]
    counts = np.zeros((len(labels), 2 * len(named)))
    for row, truth, one, other in zip(counts, labels, told, flipped, strict=True):
        for place, name in enumerate(named):
            if name in truth and name in one and name in other:
                row[2 * place : 2 * place + 2] = other[name] == SWAPPED[one[name]], 1
    return FlipOutcomes(patients, counts, findings=named)
