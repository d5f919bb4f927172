"""Do the teachers err independently of each other, as the paper assumes? Given the truth, that is: two teachers that
both miss what is hard to see have errors in common, however they came to them.

For every two teachers the errors on what both state are centred within strata: finding, truth, severity where it is
known, and windows of the stream, so that neither a hard finding nor a drift that both share is taken for dependence.
What is left of each is multiplied. Without dependence these products average to 0, in every finding; a patient is the
unit, since errors on one patient hang together in whoever makes them.

- ``correlation``: the mean product of errors, each over its deviation in the finding and truth: above 0 they err
  together, below 0 one is right where the other is wrong.
- ``p``: that it is 0, two-sided, by turning the sign of whole patients at random.
- ``information``: mutual information of the two errors given finding and truth, in bits per statement, less what the
  random signs have on average (the bias of a plug-in estimate); about correlation^2 / (2 ln 2) where all findings
  are alike.
- ``p_any``: that no finding and truth has any dependence, by the same signs; the statistic is Pearson's approximation
  to 2 n times the information in nats. It sees dependence of both signs, and less of a small one that all share.

Both p-values are corrected over the pairs (Holm). Shuffling errors within strata, the usual permutation test of
conditional independence, is not used: it takes statements about one patient for independent, and rejects too often
where each teacher is better on some patients than on others (``benchmarks/drift_recovery.py``).

Letters in shapes: S studies, F findings, C statements, P patients, K kinds (finding and truth), R random signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.measured import share
from apo_lightning.drift.strata import centred, errors, strata
from apo_lightning.metrics.bootstrap import RESAMPLES, SEED, draws, limits
from apo_lightning.metrics.outcomes import ratio
from apo_lightning.metrics.paired import holm

SIGNS = 1999
_ROWS = 250
"""Signs of all patients that are held in memory at a time."""
WINDOW, WINDOWS = 100, 10
"""Least studies of a window of the stream, and most windows."""
_SAME = 1e-9


@dataclass(frozen=True)
class Dependence:
    """Of two teachers; NaN where neither errs, or one always does, or no statement is common to both.

    Attributes:
        correlation, low, high: with its 95 % interval over patients.
        information: bits per statement.
        p, p_any: not corrected.
        holm, holm_any: corrected over all pairs.
        statements: that both make, of known truth.
        patients: of these.
    """

    correlation: float
    low: float
    high: float
    information: float
    p: float
    p_any: float
    statements: int
    patients: int
    holm: float = np.nan
    holm_any: float = np.nan


@dataclass(frozen=True, eq=False)
class _Pair:
    """What is summed of two teachers.

    Attributes:
        products: ``[P, K]`` sums of products of centred errors.
        widened: ``[P, K]`` the same as signs turn them: each times the root of n / (n - 1), of n in its stratum.
            Centring takes more from their squares than from the variance of their sum, and signs know squares alone.
        sizes: ``[P, K]`` statements.
        rates: ``[2, K]`` how often each errs.
        spread: ``[K]`` product of the deviations of the centred errors; 0 where one of them has none.
    """

    products: np.ndarray
    widened: np.ndarray
    sizes: np.ndarray
    rates: np.ndarray
    spread: np.ndarray


def independence(corpus: Corpus, signs: int = SIGNS, seed: int = SEED) -> dict[tuple[str, str], Dependence]:
    """Of every two teachers, in the order of ``corpus.teachers``.

    Raises:
        ValueError: nothing is known of the truth.
    """
    pairs = _pairs(corpus)
    if not pairs:
        return {}
    own = np.concatenate([pair.widened for pair in pairs.values()], axis=1)
    data = np.concatenate([pair.products.sum(axis=0) for pair in pairs.values()])
    turned = np.concatenate([data[None], *(rows @ own for rows in _signs(len(own), signs, seed))])
    times = draws(len(own), RESAMPLES, np.random.default_rng([seed, 0]))
    each = np.split(turned, len(pairs), axis=1)
    found = {key: _tested(pair, part, times) for (key, pair), part in zip(pairs.items(), each, strict=True)}
    p, p_any = (holm([getattr(one, name) for one in found.values()]) for name in ("p", "p_any"))
    return {key: replace(one, holm=float(p[i]), holm_any=float(p_any[i])) for i, (key, one) in enumerate(found.items())}


def windows(studies: int) -> np.ndarray:
    """``[S]`` the window of the stream in which each study lies."""
    count = max(1, min(WINDOWS, studies // WINDOW))
    return np.arange(studies) * count // max(1, studies)


def _pairs(corpus: Corpus) -> dict[tuple[str, str], _Pair]:
    wrong, names = errors(corpus), corpus.teachers
    kinds = np.arange(len(corpus.findings)) * 2 + np.nan_to_num(corpus.truth).astype(int)  # type: ignore[arg-type]
    fine = strata(corpus) * WINDOWS + windows(len(corpus.studies))[:, None]
    _, who = np.unique(np.array(corpus.patients, str), return_inverse=True)
    both = combinations(range(len(names)), 2)
    return {(names[i], names[j]): _pair(wrong[:, [i, j]], kinds, fine, who, 2 * len(corpus.findings)) for i, j in both}


def _pair(wrong: np.ndarray, kinds: np.ndarray, fine: np.ndarray, who: np.ndarray, count: int) -> _Pair:
    """Of errors ``[S, 2, F]``, with the kind ``[S, F]``, the stratum ``[S, F]`` and the patient ``[S]`` of each."""
    known = ~np.isnan(wrong).any(axis=1)
    errs = np.moveaxis(wrong, 1, 0)[:, known]  # [2, C]
    kind, patients = kinds[known], int(who.max()) + 1
    left = np.stack([centred(own, fine[known]) for own in errs])
    place = np.broadcast_to(who[:, None], known.shape)[known] * count + kind

    def by_kind(values: np.ndarray) -> np.ndarray:
        return np.bincount(kind, values, count)

    def by_patient(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values, patients * count).reshape(patients, count)

    one = np.ones(len(kind))
    inside = np.bincount(fine[known])[fine[known]] if known.any() else one
    product = left.prod(axis=0)
    widened = product * np.sqrt(inside / np.maximum(inside - 1, 1))
    rates, squares = (
        np.nan_to_num(ratio(np.stack([by_kind(own) for own in of]), by_kind(one))) for of in (errs, left**2)
    )
    return _Pair(by_patient(product), by_patient(widened), by_patient(one), rates, np.sqrt(squares.prod(axis=0)))


def _tested(pair: _Pair, turned: np.ndarray, times: np.ndarray) -> Dependence:
    """From the sums of products ``[1 + R, K]`` of the data and under each sign."""
    by_patient = pair.sizes.sum(axis=1)
    size = (int(by_patient.sum()), int((by_patient > 0).sum()))
    kept = pair.spread > _SAME
    if not kept.any():
        return Dependence(*[np.nan] * 6, *size)
    spread, count = pair.spread[kept], pair.sizes[:, kept].sum(axis=0)
    sums = turned[:, kept]
    together, anywhere = np.abs((sums / spread).sum(axis=1)), ((sums / spread) ** 2 / count).sum(axis=1)
    bits = (information(pair.rates[:, None, kept], sums / count) * count / count.sum()).sum(axis=1)
    both = np.stack([(pair.products[:, kept] / spread).sum(axis=1), pair.sizes[:, kept].sum(axis=1)], axis=1)
    whole, drawn = share(both.sum(axis=0)), share(times @ both)
    ends = limits(np.array([whole]), drawn[None], size[1], -1)
    return Dependence(float(whole), *ends, float(bits[0] - bits[1:].mean()), _p(together), _p(anywhere), *size)


def _signs(patients: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """``[rows, P]`` 1 and -1."""
    draw = np.random.default_rng([seed, 1])
    for start in range(0, count, _ROWS):
        yield draw.integers(2, size=(min(_ROWS, count - start), patients), dtype=np.int8) * 2.0 - 1


def _p(values: np.ndarray) -> float:
    """Of the first among all of them."""
    return float((values >= values[0] * (1 - _SAME)).mean())


def information(rates: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Mutual information in bits ``[...]`` of two errors that come with ``rates`` ``[2, ...]`` and ``covariance``."""
    one, other = rates
    both = np.clip(one * other + covariance, np.maximum(0, one + other - 1), np.minimum(one, other))
    cells = (
        (both, one * other),
        (one - both, one * (1 - other)),
        (other - both, (1 - one) * other),
        (1 - one - other + both, (1 - one) * (1 - other)),
    )
    return sum((_bits(joint, apart) for joint, apart in cells), np.zeros(np.shape(both)))


def _bits(joint: np.ndarray, apart: np.ndarray) -> np.ndarray:
    known = (joint > _SAME) & (apart > 0)
    return np.where(known, joint * np.log2(ratio(np.where(known, joint, 1), np.where(known, apart, 1))), 0)
