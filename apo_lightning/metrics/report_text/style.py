"""How texts are written, whatever they say: length, repetition, hedging, and how far from the references' style.

- ``report_length_ratio``: words of all texts over words of all references.
- ``report_repetition``: share of a text's 4-grams that stood in it before, 1 - distinct / all (seq-rep-4 of Welleck et
  al. 2019, arXiv 1908.04319); mean over the texts that have a 4-gram.
- ``report_hedging``: share of the sentences of all texts that hedge (`hedges`); a reference set has such a share too.
- ``report_style_distance``: Jensen-Shannon distance (base 2, in [0, 1]) between how often all texts and all references
  use each function word and punctuation mark, all other words being one: content words would tell which findings are
  present. It has no interval: a resample of words is always farther from another than the words themselves are, so
  that percentiles of resamples would lie above the value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from apo_lightning.metrics.outcomes import ratio
from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.metrics.report_text.base import Pairs, Tally, TextMetric, means
from apo_lightning.metrics.report_text.hedges import hedged

N = 4
WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
OTHER = "other"


@TEXT_METRICS.register("style")
class Style(TextMetric):
    """Length, repetition, hedging and distance of style; always measured."""

    def measure(self, pairs: Pairs) -> list[Tally]:
        lengths = [(len(words(c)), len(words(r))) for c, r in zip(pairs.candidates, pairs.references, strict=True)]
        hedges = [hedged(text) for text in pairs.candidates]
        return [
            quotient("report_length_ratio", lengths),
            means({"report_repetition": [repetition(text) for text in pairs.candidates]}),
            quotient("report_hedging", hedges),
            constant("report_style_distance", style_distance(pairs.candidates, pairs.references), len(pairs)),
        ]


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def repetition(text: str) -> float:
    """NaN where the text has no 4-gram.

    >>> repetition("no edema is seen no edema is seen no edema")
    0.42857142857142855
    """
    spoken = words(text)
    grams = [tuple(spoken[i : i + N]) for i in range(len(spoken) - N + 1)]
    return (len(grams) - len(set(grams))) / len(grams) if grams else float("nan")


def style_distance(candidates: Sequence[str], references: Sequence[str]) -> float:
    """NaN where one side has no word at all."""
    from scipy.spatial.distance import jensenshannon

    one, other = _habits(candidates), _habits(references)
    names = sorted(one.keys() | other.keys())
    if not one or not other:
        return float("nan")
    shares = [np.array([habits[name] for name in names], float) for habits in (one, other)]
    return float(jensenshannon(*shares, base=2))


def _habits(texts: Iterable[str]) -> Counter[str]:
    """How often each function word and mark is used; all other words are `OTHER`."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found = Counter(token for text in texts for token in TOKEN.findall(text.lower()))
    habits: Counter[str] = Counter()
    for token, times in found.items():
        habits[token if token in ENGLISH_STOP_WORDS or not token[0].isalnum() else OTHER] += times
    return habits


def quotient(name: str, pairs: Sequence[tuple[float, float]]) -> Tally:
    """The sum of the first over the sum of the second."""
    counts = np.array(pairs, float).reshape(-1, 2)
    return Tally(counts, lambda sums: {name: ratio(sums[..., 0], sums[..., 1])})


def constant(name: str, value: float, studies: int) -> Tally:
    """A value of all studies together that no resample changes, so that it has no interval."""
    return Tally(np.zeros((studies, 0)), lambda sums: {name: np.full(sums.shape[:-1], value)})
