"""How well t+ can be told from a teacher's text by style alone: length, opening, punctuation, and the words around the
findings, without the findings themselves and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from apo_lightning.text.labeler import mentioned

LEAST = 20
"""Pairs of texts below which nothing is said."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_ANSWER = frozenset(
    (
        "no",
        "not",
        "without",
        "yes",
        "absent",
        "present",
        "normal",
        "left",
        "right",
        "bilateral",
        "mild",
        "moderate",
        "severe",
    )
)
"""Words that carry what is said of a finding: two texts that differ in them differ in content."""


def separability(preferred: Sequence[str], teacher: Sequence[str], findings: Sequence[str], folds: int = 4) -> float:
    """Area under the ROC curve of a logistic regression that tells the first texts from the second, cross-validated by
    study (text i of both belongs to study i): .5 is chance, 1 is told apart without a mistake. NaN below `LEAST`."""
    if len(preferred) < LEAST:
        return float("nan")
    texts, labels = [*preferred, *teacher], np.repeat([1, 0], len(preferred))
    model = make_pipeline(DictVectorizer(), MaxAbsScaler(), LogisticRegression(max_iter=200))
    scores = cross_val_predict(
        model,
        [features(text, findings) for text in texts],
        labels,
        groups=np.tile(np.arange(len(preferred)), 2),
        cv=GroupKFold(folds),
        method="decision_function",
    )
    return float(roc_auc_score(labels, scores))


def least_separable(texts: Sequence[Mapping[str, str]], findings: Sequence[str]) -> float:
    """The smallest `separability` of t+ from a teacher; NaN where no teacher has texts enough.

    Args:
        texts: of each study the texts by source, t+ first.
    """
    names = {name for own in texts for name in list(own)[1:]}
    pairs = {name: [(next(iter(own.values())), own[name]) for own in texts if name in own] for name in sorted(names)}
    areas = [separability(*map(list, zip(*pair, strict=True)), findings) for pair in pairs.values()]
    return min((area for area in areas if area == area), default=float("nan"))


def features(text: str, findings: Sequence[str]) -> Mapping[str, float]:
    """Of one text: its words and signs, its opening, how many words and sentences it has.

    >>> sorted(features("Film reviewed. No edema.", ["edema"]))
    ['opens film reviewed', 'sentences', 'sign .', 'word film', 'word reviewed', 'words']
    """
    plain = " ".join(text.lower().split())
    named = [(start, end) for _, start, end in mentioned(plain, findings)]
    tail = len(plain)
    for start, end in reversed(named):  # names may overlap: a mass is a lung lesion too
        plain, tail = f"{plain[:start]} {plain[min(end, tail) :]}", start
    tokens = [token for token in _TOKEN.findall(plain) if token not in _ANSWER]
    words = [token for token in tokens if token[0].isalnum()]
    signs = [token for token in tokens if not token[0].isalnum()]
    counted = {f"sign {sign}": float(signs.count(sign)) for sign in set(signs)}
    told = {f"opens {' '.join(words[:2])}": 1.0, "words": float(len(words)), "sentences": float(plain.count("."))}
    return {f"word {word}": 1.0 for word in words} | counted | told
