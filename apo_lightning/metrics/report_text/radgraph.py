"""RadGraph F1 (Delbrouck et al. 2022, arXiv 2210.12186) by the package radgraph: means of three rewards a report."""

from __future__ import annotations

import functools
from typing import Any

from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.metrics.report_text.base import Pairs, Tally, TextMetric, means
from apo_lightning.metrics.report_text.weights import HUB, cached, lacking

MODEL = "radgraph-xl"
LEVELS = ("simple", "partial", "complete")
"""Entities; entities and whether they have relations; both in full."""


@TEXT_METRICS.register("radgraph")
class RadGraph(TextMetric):
    """Entities and relations of both texts, compared; needs radgraph and its weights."""

    def lacking(self) -> str:
        file = f"{MODEL}.tar.gz"
        return lacking("radgraph", "radgraph", {file: cached(HUB, file, "radgraph")})

    def words(self) -> str:
        return f"RadGraph F1 by radgraph ({MODEL})."

    def measure(self, pairs: Pairs) -> list[Tally]:
        _, rewards, *_ = _scorer()(hyps=list(pairs.candidates), refs=list(pairs.references))
        return [means({f"radgraph:{level}": own for level, own in zip(LEVELS, rewards, strict=True)})]


@functools.cache
def _scorer() -> Any:
    from radgraph import F1RadGraph

    return F1RadGraph(reward_level="all", model_type=MODEL)
