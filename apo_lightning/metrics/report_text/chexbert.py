"""CheXbert's F1 (Smit et al. 2020, arXiv 2004.09167) by the package f1chexbert: 14 and 5 findings, micro and macro.

Its labels are binary as in its mode ``rrg`` (uncertain is positive). Macro means are over the findings that a reference
has, as in `finding_f1`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.metrics.report_text.base import Pairs, Tally, TextMetric
from apo_lightning.metrics.report_text.finding_f1 import f1_tally
from apo_lightning.metrics.report_text.weights import HUB, cached, lacking

ORDER = (
    "enlarged_cardiomediastinum",
    "cardiomegaly",
    "lung_opacity",
    "lung_lesion",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural_effusion",
    "pleural_other",
    "fracture",
    "support_devices",
    "no_finding",
)
"""Of its labels."""


@TEXT_METRICS.register("chexbert")
class CheXbert(TextMetric):
    """F1 of what CheXbert reads in both texts; needs f1chexbert and its weights."""

    def lacking(self) -> str:
        needed = {
            "chexbert.pth": cached(HUB, "chexbert.pth", "chexbert"),
            "bert-base-uncased": cached("bert-base-uncased", "config.json"),
        }
        return lacking("chexbert", "f1chexbert", needed)

    def words(self) -> str:
        return "CheXbert's F1 by f1chexbert."

    def measure(self, pairs: Pairs) -> list[Tally]:
        said, wanted = labels(pairs.candidates), labels(pairs.references)
        return [f1_tally(said, wanted, ORDER, "chexbert:f1_")]


def labels(texts: Sequence[str]) -> np.ndarray:
    """``[S, 14]`` whether each finding is positive; an empty text has none."""
    labeler = _labeler()
    return np.array([[value == 1 for value in labeler.get_label(text)] if text else [False] * 14 for text in texts])


@functools.cache
def _labeler() -> Any:
    import torch
    from f1chexbert import F1CheXbert

    return F1CheXbert(device="cuda" if torch.cuda.is_available() else "cpu")
