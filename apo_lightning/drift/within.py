"""Does a teacher err more towards the end of its text? The paper's drift runs over reasoning steps.

One linear model of all teachers' errors: a constant for each kind of statement (finding, truth, severity: what is hard
for everybody), one for each teacher, and for each teacher a slope over the place of the sentence in its text. The slope
is the share of right answers that it loses from its first sentence to its last.

A teacher that always speaks in one order and is weak at what it says last looks as if it drifted. One model cannot tell
the two apart, but few findings are such blind spots: what a teacher says of a finding, present or absent, counts the
less, the further it lies from the model (Tukey's biweight with its usual constant, on means of many statements).

Teachers that all speak of the findings in one order give no slopes: what is said last may as well be hard. Of such, and
of a teacher that says one sentence only, the slope is NaN.

Letters in shapes: C statements, N teachers, K kinds of statements, P patients, R resamples; sums ``[5, ..., N, K]`` are
of 1, x, x^2, y and x y, with x the place in the text and y the error.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array

from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.strata import errors, strata
from apo_lightning.metrics.bootstrap import RESAMPLES, SEED, Interval, draws, limits
from apo_lightning.metrics.outcomes import ratio

SINGULAR = 1e-9
"""Eigenvalues of the normal equations (scaled to a diagonal of 1) below which a direction is not identified."""
HUBER, TUKEY = 1.345, 4.685
"""Deviations at which weights begin to fall, and at which they are 0: 95 % as precise as least squares in normal noise
(Holland and Welsch 1977)."""
ROUNDS = (10, 20)
"""With the weights of Huber, from which one always gets on, then with those of Tukey."""


def step_drift(
    corpus: Corpus, resamples: int = RESAMPLES, seed: int = SEED, robust: bool = True
) -> dict[str, Interval]:
    """Teacher to its slope, with the interval over patients; the weights are not found anew for every resample.

    Args:
        corpus: with a truth.
        resamples: how many.
        seed: of the draws.
        robust: False takes least squares, in which blind spots count fully.

    Raises:
        ValueError: nothing is known of the truth.
    """
    names, who = np.unique(np.array(corpus.patients, str), return_inverse=True)
    times = np.concatenate([np.ones((1, len(names))), draws(len(names), resamples, np.random.default_rng([seed, 0]))])
    sums, coarse = _sums(corpus, who, times)
    weights = _weights(sums[:, 0], coarse) if robust else np.ones(sums.shape[-2:])
    slopes = np.where(_identified(sums[:, 0] * weights), _solved(sums * weights)[1], np.nan)
    size = (1, len(corpus.studies), len(names))
    return {
        name: Interval(float(own[0]), *limits(own[:1], own[None, 1:], len(names), -np.inf), *size)
        for name, own in zip(corpus.teachers, slopes.T, strict=True)
    }


def _sums(corpus: Corpus, who: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[5, R, N, K]`` of each resample ``[R, P]``; and ``[K]`` finding and truth of each kind, without severity."""
    wrong, kinds = errors(corpus), strata(corpus)
    study, teacher, finding = np.nonzero(~np.isnan(wrong) & ~np.isnan(corpus.steps))
    x, y = corpus.steps[study, teacher, finding], wrong[study, teacher, finding]
    shape = (len(corpus.teachers), int(kinds.max(initial=0)) + 1)
    place = (teacher * shape[1] + kinds[study, finding], who[study])
    found = [
        coo_array((own, place), shape=(shape[0] * shape[1], times.shape[1])).tocsr() @ times.T
        for own in (np.ones(len(x)), x, x**2, y, x * y)
    ]
    coarse = np.zeros(shape[1], int)
    coarse[kinds[study, finding]] = finding * 2 + corpus.truth[study, finding].astype(int)  # type: ignore[index]
    return np.moveaxis(np.stack(found), 2, 1).reshape(5, len(times), *shape), coarse


def _normal(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations ``[..., 2 N, 2 N]`` and right sides ``[..., 2 N]`` of teachers and slopes, the constants of the
    kinds taken out."""
    one, x, xx, y, xy = sums
    size, total = one.sum(axis=-2), y.sum(axis=-2)

    def apart(left: np.ndarray, right: np.ndarray, same: np.ndarray) -> np.ndarray:
        own = np.eye(left.shape[-2]) * same.sum(axis=-1)[..., None]
        return own - np.einsum("...nk,...mk->...nm", np.nan_to_num(ratio(left, size[..., None, :])), right)

    upper = np.concatenate([apart(one, one, one), apart(one, x, x)], axis=-1)
    lower = np.concatenate([np.swapaxes(apart(one, x, x), -1, -2), apart(x, x, xx)], axis=-1)
    mean = np.nan_to_num(ratio(total, size))[..., None, :]
    right = np.concatenate([(y - one * mean).sum(axis=-1), (xy - x * mean).sum(axis=-1)], axis=-1)
    return np.concatenate([upper, lower], axis=-2), right


def _solved(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Constants of the teachers and their slopes, ``[..., N]`` each."""
    normal, right = _normal(sums)
    found = (np.linalg.pinv(normal, rcond=SINGULAR, hermitian=True) @ right[..., None])[..., 0]
    return found[..., : sums.shape[-2]], found[..., sums.shape[-2] :]


def _identified(sums: np.ndarray) -> np.ndarray:
    """``[N]`` bool: of the slopes, which no other solution changes."""
    normal, _ = _normal(sums)
    scale = np.sqrt(np.maximum(np.diagonal(normal), 0))
    scale = np.where(scale > SINGULAR, scale, 1.0)
    size, directions = np.linalg.eigh(normal / np.outer(scale, scale))
    free = np.abs(directions[:, size < SINGULAR]).max(axis=1, initial=0)
    return free[len(free) // 2 :] < 1e-6


def _weights(sums: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """``[N, K]`` in [0, 1]: how much each teacher's statements of a kind count."""
    weights = np.ones(sums.shape[1:])
    together = (coarse[:, None] == np.unique(coarse)).astype(float)
    for turn in range(sum(ROUNDS)):
        constants, slopes = _solved(sums * weights)
        left = sums[3] - sums[0] * constants[:, None] - sums[1] * slopes[:, None]
        left -= sums[0] * np.nan_to_num(ratio((left * weights).sum(axis=0), (sums[0] * weights).sum(axis=0)))
        off = np.abs(np.nan_to_num(ratio(left @ together, sums[0] @ together)))
        scale = np.median(off[sums[0] @ together > 0]) / 0.6745 if sums[0].any() else 0.0
        if scale < SINGULAR:
            return np.ones(sums.shape[1:])
        far = (off / scale) @ together.T
        huber, tukey = HUBER / np.maximum(far, HUBER), np.maximum(0, 1 - (far / TUKEY) ** 2) ** 2
        weights = huber if turn < ROUNDS[0] else tukey
    return weights
