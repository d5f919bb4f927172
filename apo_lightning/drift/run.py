"""Everything that is measured of drift, in one record: what `drift.json` holds. docs/drift.md says what each part is.

Intervals are ``{"value", "low", "high"}``, 95 % over patients; null where nothing is known. Letters: K steps, N teachers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apo_lightning.drift import label_steps
from apo_lightning.drift.agreement import agreement, pairwise
from apo_lightning.drift.conflict import Conflict, conflict
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.curves import intervals, mean
from apo_lightning.drift.embeddings import EmbeddingSteps
from apo_lightning.drift.profiles import profiles
from apo_lightning.drift.steps import StepDivergence
from apo_lightning.metrics.bootstrap import RESAMPLES, Interval, Name
from apo_lightning.text.labeler import KINDS

VERSION = 1
"""Of the record; it rises when a key changes its meaning or goes."""
STEPS = 10
"""Parts of equal length into which a text is divided, and sentences that are looked at from the first on."""
PARTS = 4
"""Parts of the sentences that state something, in which errors are counted."""
BEYOND = 0.5
"""Conflict score above which a study is counted as in conflict where no gate is set: of two teachers and a finding,
every second pair."""
WORST = 200
"""Studies in conflict that the record names, the worst first."""
BINS = 10


@dataclass(frozen=True)
class Models:
    """What was measured with models, each None where it was not asked for.

    Attributes:
        divergence: by position and by sentence, see `steps`; ``scorer`` names the common model and what it saw.
        embedding: by position and by sentence, see `embeddings`; ``encoder`` names its folder.
    """

    divergence: Sequence[StepDivergence] = ()
    scorer: str = ""
    embedding: Sequence[EmbeddingSteps] = ()
    encoder: str = ""


def measure(
    corpus: Corpus,
    *,
    beyond: tuple[float | None, float | None] = (None, None),
    models: Models | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The record of a corpus.

    Args:
        corpus: at least one study.
        beyond: thresholds of the gate for studies and findings; None: `BEYOND`.
        models: what was measured with models before.
        resamples: of patients.
    """
    thresholds = tuple(BEYOND if value is None else value for value in beyond)
    return {
        "version": VERSION,
        "teachers": list(corpus.teachers),
        "findings": list(corpus.findings),
        "studies": len(corpus.studies),
        "patients": len(set(corpus.patients)),
        "labelled": 0 if corpus.truth is None else int((~np.isnan(corpus.truth)).any(1).sum()),
        "resamples": resamples,
        "profiles": {name: told(own) for name, own in profiles(corpus, resamples).items()},
        "kinds": _kinds(corpus),
        "agreement": told(agreement(corpus, resamples)),
        "pairs": [{"teachers": list(pair), **told(own)} for pair, own in pairwise(corpus, resamples).items()],
        "steps": steps_told(corpus, models or Models()),
        "conflict": conflict_told(corpus, conflict(corpus), thresholds),
    }


def told(found: Mapping[Name, Interval]) -> dict[str, dict[str, dict[str, float]]]:
    """Measure to finding (or ``mean``) to its interval."""
    made: dict[str, dict[str, dict[str, float]]] = {}
    for (measure_name, finding), one in found.items():
        made.setdefault(measure_name, {})[finding] = {"value": one.value, "low": one.low, "high": one.high}
    return made


def _kinds(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Teacher to how many of its texts are of each kind."""
    found = {}
    for u, name in enumerate(corpus.teachers):
        counted = Counter(KINDS[kind] for kind in corpus.kind[:, u] if kind >= 0)
        found[name] = {kind: counted[kind] for kind in KINDS}
    return found


def steps_told(corpus: Corpus, models: Models, steps: int = STEPS) -> dict[str, Any]:
    """What moves along the texts: statements, errors, and what was measured with models."""
    by_labels = label_steps.measure(corpus.texts, corpus.teachers, corpus.findings, steps=steps)
    found: dict[str, Any] = {
        "steps": steps,
        "parts": PARTS,
        "statements": {
            one.by: {"conflict": one.conflict.summary(corpus.patients), "apart": one.apart.summary(corpus.patients)}
            for one in by_labels
        },
        "errors": None,
        "divergence": None,
        "embedding": None,
    }
    if corpus.truth is not None:
        wrong = label_steps.errors(corpus.texts, corpus.truth, corpus.teachers, corpus.findings, parts=PARTS)
        found["errors"] = wrong.summary(corpus.patients, corpus.teachers)
    if models.divergence:
        found["divergence"] = {"scorer": models.scorer, **{d.by: _divergence(d, corpus) for d in models.divergence}}
    if models.embedding:
        own = {one.by: one.curve.summary(corpus.patients) for one in models.embedding}
        found["embedding"] = {"encoder": models.encoder, **own}
    return found


def _divergence(one: StepDivergence, corpus: Corpus) -> dict[str, Any]:
    """Between teachers; ``halves`` and ``within`` are of every other token, so that they compare; ``excess`` is the one
    minus the other."""
    who = dict(zip(corpus.studies, corpus.patients, strict=True))
    patients = [who[study] for study in one.studies]
    return {
        **one.curve.summary(patients),
        "halves": _line(one.halves.studies, patients),
        "within": _line(one.within, patients),
        "excess": _line(one.halves.studies - one.within, patients),
        "scored": len(one.studies),
    }


def _line(values: np.ndarray, patients: Sequence[str]) -> dict[str, Any]:
    ends = intervals(values, patients)
    return {
        "mean": mean(values, axis=0).tolist(),
        "low": [low for low, _ in ends],
        "high": [high for _, high in ends],
    }


def conflict_told(corpus: Corpus, found: Conflict, thresholds: Sequence[float]) -> dict[str, Any]:
    """Conflict scores: their histogram over studies, how many are beyond the thresholds, and the worst studies."""
    scores = found.by_study
    known = np.flatnonzero(~np.isnan(scores))
    counts, edges = np.histogram(scores[known], bins=BINS, range=(0, 1))
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


__all__ = ["BEYOND", "PARTS", "STEPS", "VERSION", "Models", "measure"]
