"""CheXbert (Smit et al. 2020, arXiv 2004.09167) by the package f1chexbert, on weights that are on this disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apo_lightning.metrics.labelers import LABELERS
from apo_lightning.metrics.labelers.base import Labeler
from apo_lightning.metrics.report_text import chexbert
from apo_lightning.metrics.report_text.weights import HUB, cached, lacking


@LABELERS.register("chexbert")
class CheXbertLabeler(Labeler):
    """CheXpert's fourteen. What it leaves blank is not stated; its class "uncertain" is present."""

    findings = chexbert.ORDER

    def lacking(self) -> str:
        needed = {
            "chexbert.pth": cached(HUB, "chexbert.pth", "chexbert"),
            "bert-base-uncased": cached("bert-base-uncased", "config.json"),
        }
        return lacking("chexbert", "f1chexbert", needed, asked="The labeler is")

    def read(self, texts: Sequence[str], findings: Sequence[str]) -> np.ndarray:
        labeler = chexbert._labeler()
        table = np.full((len(texts), len(findings)), np.nan)
        for row, text in zip(table, texts, strict=True):
            said = labeler.get_label(text, mode="classification") if text.strip() else []
            known = {name: value for name, value in zip(chexbert.ORDER, said, strict=False) if value != ""}
            row[:] = [float(known[name] != 0) if name in known else np.nan for name in findings]
        return table
