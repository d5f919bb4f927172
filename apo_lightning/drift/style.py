"""Can a teacher be told by its style alone? Areas under the ROC curve of a bag of words without findings.

Near 1 between a teacher and t+ a preference loss can be satisfied by style, without a word about what is right; near 1
between teachers they drift apart in wording, whatever they agree on (`metrics.style_probe`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from apo_lightning.drift.corpus import Corpus
from apo_lightning.metrics.style_probe import separability

MOST = 300
"""Studies of a pair that are looked at, spread evenly over their names: more change little and cost minutes."""


def between_teachers(corpus: Corpus, most: int = MOST) -> dict[tuple[str, str], float]:
    """Of every two teachers, in the order of ``corpus.teachers``; NaN where they have too few studies in common."""
    return {
        (one, other): _told_apart(corpus, {s: own.get(one) for s, own in corpus.texts.items()}, other, most)
        for one, other in combinations(corpus.teachers, 2)
    }


def against(corpus: Corpus, preferred: Mapping[str, str], most: int = MOST) -> dict[str, float]:
    """Of each teacher from t+ (study to text)."""
    return {name: _told_apart(corpus, preferred, name, most) for name in corpus.teachers}


def _told_apart(corpus: Corpus, first: Mapping[str, str | None], teacher: str, most: int) -> float:
    pairs = [
        (text, corpus.texts[study][teacher])
        for study in sorted(corpus.studies)  # whatever order they came in, the same are compared
        if teacher in corpus.texts[study] and (text := first.get(study)) is not None
    ]
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(most, len(pairs))).round().astype(int)) if pairs else []
    one, other = ([pairs[i][side] for i in chosen] for side in (0, 1))
    return separability(one, other, corpus.findings)
