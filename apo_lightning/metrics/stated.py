"""What answers state against what is known, as torchmetrics that add up over batches and processes.

The counts and formulas are those of `findings` and `progression`, whose tables resample them; here they are summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from apo_lightning.metrics.answers import score_progression, score_texts
from apo_lightning.metrics.outcomes import Outcomes
from apo_lightning.types import Study


class StatedScores(Metric):
    """Sums of counts, of which every metric is a ratio. A subclass says what is counted of texts.

    ``compute`` gives ``<metric>/<finding>`` and ``<metric>/mean``; NaN where a metric is not defined.

    Args:
        findings: names that are scored.
    """

    is_differentiable, full_state_update = False, False
    sums: Tensor

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__()
        self.findings = tuple(findings)
        self.none = self.counted({}, ())
        self.add_state("sums", torch.zeros(self.none.counts.shape[1], dtype=torch.float64), dist_reduce_fx="sum")

    def counted(self, texts: Mapping[str, str], studies: Sequence[Study]) -> Outcomes:
        """The counts of some studies; of none, too, as wide as those of many."""
        raise NotImplementedError(f"{type(self).__name__} must define counted(texts, studies)")

    def update(self, texts: Mapping[str, str], studies: Sequence[Study]) -> None:
        """Some studies of this process, and their answers by study; one without an answer counts as refused."""
        self.sums += torch.as_tensor(self.counted(texts, studies).counts.sum(axis=0)).to(self.sums)

    def compute(self) -> dict[str, Tensor]:
        found = self.none.metrics(self.sums.cpu().numpy())
        return {f"{metric}/{name}": torch.as_tensor(float(value)) for (metric, name), value in found.items()}


class FindingScores(StatedScores):
    """Accuracy, balanced accuracy and F1 of each finding and their means, and the shares of refusals and the like: see
    `findings`. Equal to sklearn's ``accuracy_score``, ``balanced_accuracy_score`` and ``f1_score``."""

    def counted(self, texts: Mapping[str, str], studies: Sequence[Study]) -> Outcomes:
        return score_texts(texts, studies, self.findings)


class ProgressionScores(StatedScores):
    """Top-1 and macro accuracy of the course of each finding (improving, stable, worsening), their means, and the share
    of courses that are not told; see `progression`. A finding without a label scores NaN and stays out of the mean."""

    def counted(self, texts: Mapping[str, str], studies: Sequence[Study]) -> Outcomes:
        return score_progression(texts, studies, self.findings, every=True)
