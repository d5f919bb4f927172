"""Everything that is measured of drift, in one record: what `drift.json` holds. docs/drift.md says what each part is.

Intervals are ``{"value", "low", "high"}``, 95 % over patients; null where nothing is known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apo_lightning.drift import changes, label_steps
from apo_lightning.drift.agreement import agreement, pairwise
from apo_lightning.drift.conflict import conflict
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.curves import line
from apo_lightning.drift.embeddings import EmbeddingSteps
from apo_lightning.drift.independence import SIGNS, independence
from apo_lightning.drift.limits import verdicts
from apo_lightning.drift.profiles import profiles
from apo_lightning.drift.pruning import Ranking
from apo_lightning.drift.steps import StepDivergence
from apo_lightning.drift.told import (
    conflict_told,
    independence_told,
    pruning_told,
    stream_told,
    style_told,
    summary_told,
)
from apo_lightning.drift.vote import summary
from apo_lightning.drift.within import step_drift
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
    ranking: tuple[Ranking, str] | None = None,
    resamples: int = RESAMPLES,
    orders: int = changes.ORDERS,
    signs: int = SIGNS,
    style: bool = True,
    preferred: Mapping[str, str] | None = None,
    student: float | None = None,
) -> dict[str, Any]:
    """The record of a corpus.

    Args:
        corpus: at least one study.
        beyond: thresholds of the gate for studies and findings; None: `BEYOND`.
        models: what was measured with models before.
        ranking: what each teacher adds, and on which studies that was looked at.
        resamples: of patients, for intervals.
        orders: of studies, by which changes along the stream are tested; 0: they are not looked for.
        signs: by which independence is tested; 0: it is not.
        style: whether teachers are told apart by style, which takes the longest.
        preferred: t+ by study, where there is one, to be told from teachers by style.
        student: share of labelled statements that the student gets right before training, where it is known.
    """
    thresholds = tuple(BEYOND if value is None else value for value in beyond)
    labelled = 0 if corpus.truth is None else int((~np.isnan(corpus.truth)).any(1).sum())
    against = conflict_told(corpus, conflict(corpus), thresholds)
    summed = rounded(summary_told(summary(corpus), against["mean"]))
    record = {
        "version": VERSION,
        "teachers": list(corpus.teachers),
        "findings": list(corpus.findings),
        "studies": len(corpus.studies),
        "patients": len(set(corpus.patients)),
        "labelled": labelled,
        "resamples": resamples,
        "profiles": {name: told(own) for name, own in profiles(corpus, resamples).items()},
        "kinds": _kinds(corpus),
        "agreement": told(agreement(corpus, resamples)),
        "pairs": [{"teachers": list(pair), **told(own)} for pair, own in pairwise(corpus, resamples).items()],
        "steps": steps_told(corpus, models or Models(), resamples),
        "conflict": against,
        "summary": summed,
        "limits": verdicts(summed, student),
        "stream": stream_told(corpus, changes.changes(corpus, orders)) if orders else None,
        "independence": independence_told(independence(corpus, signs)) if signs and labelled else None,
        "style": style_told(corpus, preferred or {}) if style else None,
        "pruning": pruning_told(*ranking) if ranking else None,
    }
    return rounded(record)


def rounded(value: Any) -> Any:
    """Plain containers with numbers of six decimals, NaN as None."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else round(float(value), 6)
    return value


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


def steps_told(corpus: Corpus, models: Models, resamples: int, steps: int = STEPS) -> dict[str, Any]:
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
        "slopes": None,
        "divergence": None,
        "embedding": None,
    }
    if corpus.truth is not None:
        wrong = label_steps.errors(corpus.texts, corpus.truth, corpus.teachers, corpus.findings, parts=PARTS)
        found["errors"] = wrong.summary(corpus.patients, corpus.teachers)
        slopes = step_drift(corpus, resamples)
        found["slopes"] = {name: {"value": o.value, "low": o.low, "high": o.high} for name, o in slopes.items()}
    if models.divergence:
        found["divergence"] = {"scorer": models.scorer, **{d.by: _divergence(d, corpus) for d in models.divergence}}
    if models.embedding:
        own = {one.by: one.curve.summary(corpus.patients) for one in models.embedding}
        found["embedding"] = {"encoder": models.encoder, **own}
    return found


def _divergence(one: StepDivergence, corpus: Corpus) -> dict[str, Any]:
    """Between teachers; ``own`` is each beside itself on another study, ``excess`` the one minus the other."""
    who = dict(zip(corpus.studies, corpus.patients, strict=True))
    patients = [who[study] for study in one.studies]
    return {
        **one.curve.summary(patients),
        "own": line(one.own, patients),
        "excess": line(one.curve.studies - one.own, patients),
        "scored": len(one.studies),
    }


__all__ = ["BEYOND", "PARTS", "STEPS", "VERSION", "Models", "measure"]
