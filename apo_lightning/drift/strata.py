"""Kinds of statements that are alike in what is true: what they are conditioned on, so that neither a mix of cases that
moves along the stream nor a finding that is hard for everybody is taken for a teacher's drift.

Letters in shapes: S studies, N teachers, F findings.
"""

from __future__ import annotations

import numpy as np

from apo_lightning.drift.corpus import Corpus
from apo_lightning.metrics.outcomes import ratio


def strata(corpus: Corpus) -> np.ndarray:
    """``[S, F]`` int, from 0: the finding, its truth (present, absent, unknown), and where it is known the severity."""
    unknown = np.full((len(corpus.studies), len(corpus.findings)), 2)
    truth = unknown if corpus.truth is None else np.where(np.isnan(corpus.truth), 2, corpus.truth).astype(int)
    grade = np.zeros_like(truth) if corpus.true_severities is None else corpus.true_severities.astype(int)
    code = (np.arange(truth.shape[1]) * 3 + truth) * 4 + grade * (truth == 1)
    return np.unique(code, return_inverse=True)[1].reshape(truth.shape)


def errors(corpus: Corpus) -> np.ndarray:
    """``[S, N, F]`` 1 wrong, 0 right, NaN where a finding is not stated or its truth is not known.

    Raises:
        ValueError: nothing is known.
    """
    if corpus.truth is None:
        raise ValueError("errors need a truth: labels, or what a report states")
    known = ~np.isnan(corpus.said) & ~np.isnan(corpus.truth[:, None])
    return np.where(known, corpus.said != corpus.truth[:, None], np.nan)


def centred(values: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """``values`` less the mean of their stratum; NaN stays.

    Args:
        values: ``[S, F]``.
        kinds: ``[S, F]`` as `strata`.
    """
    known = ~np.isnan(values)
    size = int(kinds.max(initial=-1)) + 1
    sums = np.bincount(kinds[known], values[known], minlength=size)
    means = ratio(sums, np.bincount(kinds[known], minlength=size))
    return values - means[kinds]
