"""What `drift.json` says of conflict, of the stream, and of the teachers' errors together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from apo_lightning.drift import changes, style
from apo_lightning.drift.changes import Changes
from apo_lightning.drift.conflict import Conflict
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.curves import mean
from apo_lightning.drift.independence import Dependence
from apo_lightning.drift.pruning import Ranking, Subset
from apo_lightning.drift.vote import Summary
from apo_lightning.metrics.subsets import Bounded

BINS = 10
"""Of the histogram of conflict scores."""
WORST = 200
"""Studies in conflict that the record names, the worst first."""
WINDOWS = 25
"""Of equally many studies, by which a stream is shown."""


def conflict_told(corpus: Corpus, found: Conflict, thresholds: Sequence[float]) -> dict[str, Any]:
    """Conflict scores: their histogram over studies, how many are beyond the thresholds, and the worst studies."""
    scores = found.by_study
    known = np.flatnonzero(~np.isnan(scores))
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.clip(
        np.searchsorted(edges, scores[known], side="left") - 1, 0, BINS - 1
    )  # a score on an edge is below it
    counts = np.bincount(bins, minlength=BINS)
    order = known[np.argsort(-scores[known], kind="stable")]
    worst = [i for i in order if scores[i] > thresholds[0]]
    return {
        "thresholds": {"studies": thresholds[0], "findings": thresholds[1]},
        "scored": len(known),
        "mean": float(scores[known].mean()) if len(known) else None,
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "beyond": {
            "studies": len(worst),
            "findings": {
                name: int((found.by_finding[:, f] > thresholds[1]).sum()) for f, name in enumerate(corpus.findings)
            },
        },
        "findings": {name: _mean(found.by_finding[:, f]) for f, name in enumerate(corpus.findings)},
        "worst": [_worst(corpus, found, i) for i in worst[:WORST]],
    }


def summary_told(found: Summary, conflict_mean: float | None) -> dict[str, Any]:
    """Numbers of the whole corpus: how far teachers are divided, and what their vote is worth."""
    return {
        "conflict_mean": conflict_mean,
        "cells": found.cells,
        "divided": found.divided,
        "vote_entropy": found.entropy,
        "teacher_expected_accuracy": found.expected,
        "vote_expected_accuracy": found.vote_expected,
        "vote_accuracy": found.vote_accuracy,
    }


def _worst(corpus: Corpus, found: Conflict, study: int) -> dict[str, Any]:
    own = {
        name: float(found.by_finding[study, f])
        for f, name in enumerate(corpus.findings)
        if found.by_finding[study, f] > 0
    }
    return {"study": corpus.studies[study], "score": float(found.by_study[study]), "findings": own}


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def stream_told(corpus: Corpus, found: Mapping[str, Changes]) -> dict[str, Any]:
    """Of each stream its changes, and its means by window, with the place of the middle of each window."""
    parts = np.array_split(np.arange(len(corpus.studies)), min(WINDOWS, len(corpus.studies)))
    values = changes.streams(corpus)
    return {
        "windows": [float(corpus.place[part].mean()) for part in parts],
        "level": changes.LEVEL,
        "streams": {
            name: {**asdict(one), "values": [float(mean(values[name][part], axis=0)) for part in parts]}
            for name, one in found.items()
        },
    }


def independence_told(found: Mapping[tuple[str, str], Dependence]) -> list[dict[str, Any]]:
    """Each pair of teachers with its test."""
    return [{"teachers": list(pair), **asdict(one)} for pair, one in found.items()]


def style_told(corpus: Corpus, preferred: Mapping[str, str]) -> dict[str, Any]:
    """Areas under the ROC curve with which style alone tells teachers apart, and each of them from t+."""
    pairs = style.between_teachers(corpus)
    return {
        "pairs": [{"teachers": list(pair), "area": area} for pair, area in pairs.items()],
        "preferred": style.against(corpus, preferred) if preferred else None,
    }


def pruning_told(found: Ranking, on: str) -> dict[str, Any]:
    """What each teacher adds, and the cheapest subset; ``on`` says on which studies."""
    return {
        "on": on,
        "studies": found.studies,
        "loss": found.loss,
        "by": found.by,
        "added": [
            {
                "teacher": one.teacher,
                **{key: bounded(getattr(one, key)) for key in ("vote", "likelihood", "agreement")},
                "cost": asdict(one.cost),
            }
            for one in found.added
        ],
        "whole": _subset(found.whole),
        "cheapest": _subset(found.cheapest) if found.cheapest else None,
    }


def _subset(one: Subset) -> dict[str, Any]:
    return {"teachers": list(one.teachers), "vote": one.vote, "lost": bounded(one.lost), "cost": asdict(one.cost)}


def bounded(one: Bounded) -> dict[str, float]:
    """An interval of the record."""
    return {"value": one.value, "low": one.low, "high": one.high}
