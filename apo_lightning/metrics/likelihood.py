"""How likely a student finds t+ and the teachers' texts, before and after its preference stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apo_lightning.metrics.outcomes import MEAN, Metrics, Outcomes, ratio

SUFFIXES = ("", "_before")
"""Under the arm's student, and under the one that its preference stage started from."""


class LikelihoodOutcomes(Outcomes):
    """For each suffix: log p (nats) of t+, 1, the sum over the teachers' texts of their log p, and how many they are.

    ``logp_preferred`` is the mean over studies, ``logp_teachers`` the mean over all texts of teachers.
    """

    def metrics(self, sums: np.ndarray) -> Metrics:
        found: Metrics = {}
        for place, suffix in enumerate(SUFFIXES):
            chosen, studies, rejected, texts = np.moveaxis(sums[..., 4 * place : 4 * place + 4], -1, 0)
            found["logp_preferred" + suffix, MEAN] = ratio(chosen, studies)
            found["logp_teachers" + suffix, MEAN] = ratio(rejected, texts)
        return found


def of_likelihoods(rows: Sequence[Mapping[str, Any]]) -> LikelihoodOutcomes:
    """From lines of ``likelihoods.jsonl``: ``patient``, and for each suffix the log p of t+ (``preferred``) and of each
    teacher's text (``teachers``, a list)."""
    counts = np.zeros((len(rows), 4 * len(SUFFIXES)))
    for line, row in zip(counts, rows, strict=True):
        for place, suffix in enumerate(SUFFIXES):
            texts = row["teachers" + suffix]
            line[4 * place : 4 * place + 4] = row["preferred" + suffix], 1, sum(texts), len(texts)
    return LikelihoodOutcomes([row["patient"] for row in rows], counts)
