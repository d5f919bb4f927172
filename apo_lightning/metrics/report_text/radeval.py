"""RaTEScore (Zhao et al. 2024, arXiv 2406.16845) by the package RadEval, a value a report; another metric of RadEval is
one file more."""

from __future__ import annotations

import functools
from typing import Any

from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.metrics.report_text.base import Pairs, Tally, TextMetric, means
from apo_lightning.metrics.report_text.weights import cached, lacking

MODELS = ("Angelakeke/RaTE-NER-Deberta", "FremyCompany/BioLORD-2023-C")


@TEXT_METRICS.register("radeval")
class RadEvalMetric(TextMetric):
    """RaTEScore of each report; needs RadEval and its weights."""

    def lacking(self) -> str:
        return lacking("radeval", "RadEval", {name: cached(name, "config.json") for name in MODELS})

    def words(self) -> str:
        return "RaTEScore by RadEval."

    def measure(self, pairs: Pairs) -> list[Tally]:
        found = _scorer()(refs=list(pairs.references), hyps=list(pairs.candidates))
        each = {f"radeval:{name}": own for name, own in found.items() if len(own) == len(pairs)}
        return [means(each)]


@functools.cache
def _scorer() -> Any:
    from RadEval import RadEval

    return RadEval(do_ratescore=True, do_per_sample=True, show_progress=False)
