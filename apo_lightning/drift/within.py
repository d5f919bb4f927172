"""Does a teacher err more towards the end of its text? The paper's drift runs over reasoning steps.

One linear model of all teachers' errors, by least squares: a constant for each kind of statement (finding, truth,
severity: what is hard for everybody), one for each teacher, and for each teacher a slope over the place of the sentence
in its text. The slope is the share of right answers that it loses from its first sentence to its last.

Teachers that all speak of the findings in one order give no slopes: what is said last may as well be hard. Of such, and
of a teacher that says one sentence only, the slope is NaN. A weakness of one teacher alone, at what it always says
last, cannot be told from a slope.

Letters in shapes: C statements, N teachers, P patients, R resamples, M columns of the model.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array

from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.strata import centred, errors, strata
from apo_lightning.metrics.bootstrap import RESAMPLES, SEED, Interval, draws, limits

SINGULAR = 1e-9
"""Eigenvalues of the normal equations (scaled to a diagonal of 1) below which a direction is not identified."""


def step_drift(corpus: Corpus, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Interval]:
    """Teacher to its slope, with the interval over patients; the constants of the kinds are not drawn anew.

    Raises:
        ValueError: nothing is known of the truth.
    """
    names, who = np.unique(np.array(corpus.patients, str), return_inverse=True)
    moments = _moments(*_columns(corpus, who), len(names))
    times = draws(len(names), resamples, np.random.default_rng([seed, 0]))
    sums = np.concatenate([np.ones((1, len(names))), times]) @ moments.reshape(len(names), -1)
    slopes = _slopes(sums.reshape(-1, *moments.shape[1:]), len(corpus.teachers))
    size = (1, len(corpus.studies), len(names))
    return {
        name: Interval(float(own[0]), *limits(own[:1], own[None, 1:], len(names), -np.inf), *size)
        for name, own in zip(corpus.teachers, slopes.T, strict=True)
    }


def _columns(corpus: Corpus, who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[C, 2 N + 1]`` teachers, their places in the text, and errors, each less its mean over the kind of statement;
    and ``[C]`` whose statement it is."""
    wrong = errors(corpus)
    study, teacher, finding = np.nonzero(~np.isnan(wrong) & ~np.isnan(corpus.steps))
    own = (teacher[:, None] == np.arange(len(corpus.teachers))).astype(float)
    steps = own * corpus.steps[study, teacher, finding][:, None]
    columns = np.concatenate([own, steps, wrong[study, teacher, finding][:, None]], axis=1)
    kinds = strata(corpus)[study, finding]
    return np.stack([centred(column, kinds) for column in columns.T], axis=1), who[study]


def _moments(columns: np.ndarray, who: np.ndarray, patients: int) -> np.ndarray:
    """``[P, M, M]``: of each patient the sums of products."""
    place = (who, np.arange(len(who)))
    summing = coo_array((np.ones(len(who)), place), shape=(patients, len(who))).tocsr()
    return np.stack([summing @ (columns * column[:, None]) for column in columns.T], axis=1)


def _slopes(sums: np.ndarray, teachers: int) -> np.ndarray:
    """``[R, N]`` of moments ``[R, M, M]``, the first of which are those of the data; NaN where not identified there."""
    normal, errors = sums[:, :-1, :-1], sums[:, :-1, -1:]
    scale = np.sqrt(np.diagonal(normal[0]))
    scale = np.where(scale > 0, scale, 1.0)
    normal, errors = normal / np.outer(scale, scale), errors / scale[:, None]
    found = (np.linalg.pinv(normal, rcond=SINGULAR, hermitian=True) @ errors)[..., 0] / scale
    size, directions = np.linalg.eigh(normal[0])
    free = np.abs(directions[:, size < SINGULAR * max(1.0, size.max(initial=0))]).max(axis=1, initial=0)
    return np.where(free < 1e-6, found, np.nan)[:, teachers:]
