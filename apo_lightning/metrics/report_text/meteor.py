"""METEOR 1.5 of a corpus from sums over its studies, in English as pycocoevalcap runs it (Denkowski and Lavie 2014).

Counts ``[..., 23]`` are what the Java program prints of a pair: length of candidate and reference, function words of
each; for each of four matchers (exact, stem, synonym, paraphrase) the matched content words of candidate and reference,
then the matched function words of each; chunks, and all matched words of each. The program's own corpus value is made
of sums of these too; it is no mean over studies.
"""

from __future__ import annotations

import numpy as np

from apo_lightning.metrics.outcomes import ratio

WIDTH = 23
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
"""Of the four matchers. These are the program's tuned values for English (``-l en``)."""


def added(stats: np.ndarray) -> np.ndarray:
    """Counts ``[S, 23]`` of pairs as the program adds them up: a pair that matches whole and in one chunk adds none."""
    stages = stats[:, 4:20].reshape(-1, 4, 2, 2)
    whole = (stages.sum(axis=(1, 2)) == stats[:, :2]).all(axis=1) & (stats[:, 20] == 1)
    counts = stats.copy()
    counts[whole, 20] = 0
    return counts


def meteor(sums: np.ndarray) -> np.ndarray:
    """Values ``[...]`` in [0, 1]; 0 where nothing matches."""
    lengths, functions = sums[..., 0:2], sums[..., 2:4]
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    chunks, words = sums[..., 20], sums[..., 21:23]
    content, function = stages[..., 0:2], stages[..., 2:4]
    matched = ((DELTA * content + (1 - DELTA) * function) * WEIGHTS[:, None]).sum(axis=-2)
    shares = ratio(matched, DELTA * (lengths - functions) + (1 - DELTA) * functions)
    precision, recall = shares[..., 0], shares[..., 1]
    mean = ratio(precision * recall, (1 - ALPHA) * recall + ALPHA * precision)
    broken = ratio(chunks, words.mean(axis=-1))
    return np.nan_to_num(np.maximum(mean * (1 - GAMMA * broken**BETA), 0))
