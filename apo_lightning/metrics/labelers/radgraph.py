"""RadGraph (Jain et al. 2021, arXiv 2106.14463) by the package radgraph, its observations named in our words."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from apo_lightning.metrics.labelers import LABELERS
from apo_lightning.metrics.labelers.base import Labeler
from apo_lightning.metrics.report_text.radgraph import MODEL
from apo_lightning.metrics.report_text.weights import HUB, cached, lacking
from apo_lightning.text.mentions import mentions, others

_ABSENT = "definitely absent"


@LABELERS.register("radgraph")
class RadGraphLabeler(Labeler):
    """Any finding: an observation with all that it is related to, in the order of the report, is read by its names.

    Present where any observation of it is definite or uncertain, else absent where one is denied.
    """

    def lacking(self) -> str:
        file = f"{MODEL}.tar.gz"
        return lacking("radgraph", "radgraph", {file: cached(HUB, file, "radgraph")}, asked="The labeler is")

    def read(self, texts: Sequence[str], findings: Sequence[str]) -> np.ndarray:
        table = np.full((len(texts), len(findings)), np.nan)
        for row, text in zip(table, texts, strict=True):
            said: dict[str, float] = {}
            for words, value in _observations(_model()([text])["0"]["entities"] if text.strip() else {}):
                for mention in mentions(words, others(findings)):
                    own = 0.0 if mention.value == 0 else value
                    said[mention.finding] = max(said.get(mention.finding, 0.0), own)
            row[:] = [said.get(name, np.nan) for name in findings]
        return table


def _observations(entities: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """The words of each observation and of what it is related to in either direction, and whether it is there."""
    related: dict[str, set[str]] = {name: {name} for name in entities}
    for name, entity in entities.items():
        for _, other in entity["relations"]:
            related[name].add(other)
            related[other].add(name)
    for name, entity in entities.items():
        kind, _, state = entity["label"].partition("::")
        if kind == "Observation":
            own = sorted((entities[other] for other in related[name]), key=lambda e: e["start_ix"])
            yield " ".join(e["tokens"] for e in own).lower(), float(state != _ABSENT)


@functools.cache
def _model() -> Any:
    from radgraph import RadGraph

    return RadGraph(model_type=MODEL)
