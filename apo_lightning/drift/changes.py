"""Where along the stream of studies do the teachers change?

Streams are the agreement of all, and what each teacher gets wrong; without a truth, what each says against the others.
Values are centred by what is true of the case (`strata`), so that other patients are not taken for another teacher. The
best piecewise constant mean is found by dynamic programming (``ruptures.KernelCPD``, linear kernel) on bins of equally
many studies.

How much a change must explain is calibrated by permutation: the statistic of a stream is the largest penalty per change
at which it still has one, ``max over k of (cost without a change - cost with the best k) / k``; the penalty is its 98 %
quantile under random orders of the studies, taken over the maximum of all streams (Westfall and Young 1993). So in 98
of 100 corpora in which no order is to be seen, no stream at all has a change, whatever the distribution of its values.
Studies of one patient that follow each other stay together in an order.

A mean that rises slowly has changes too: they approximate it.

Letters in shapes: S studies, B bins, R orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ruptures import KernelCPD

from apo_lightning.drift.conflict import contradictions
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.strata import centred, errors, strata
from apo_lightning.metrics.outcomes import mean_defined, ratio

AGREEMENT = "agreement"
ORDERS = 499
SEED = 0
LEVEL = 0.02
"""Share of corpora without a change in which one is found: a change sends somebody to look at a teacher, and those
worth looking at are far beyond it."""
BINS = 200
LEAST = 0.05
"""Share of the stream: changes that lie nearer to each other, or to an end, are not looked for."""
MOST = 8
"""Changes of one stream."""
FEW = 40
"""Studies with a value below which nothing is said of a stream."""
TINY = 1e-12


@dataclass(frozen=True)
class Changes:
    """Of one stream.

    Attributes:
        places: of the changes in the stream, in [0, 1].
        means: of the stretches between them, one more than there are changes.
        p: how often a random order has, in any stream, as large a statistic; NaN of a stream with too few values.
        studies: with a value.
    """

    places: tuple[float, ...]
    means: tuple[float, ...]
    p: float
    studies: int


def changes(corpus: Corpus, orders: int = ORDERS, seed: int = SEED, level: float = LEVEL) -> dict[str, Changes]:
    """Stream (`streams`) to its changes."""
    return find(streams(corpus), corpus.place, corpus.patients, orders, seed, level)


def streams(corpus: Corpus) -> dict[str, np.ndarray]:
    """``[S]`` each, NaN where a study has no value: `AGREEMENT`, and of each teacher ``error <name>``, or, where
    nothing is known of the truth, ``dissent <name>``: the share of what it and another state on which they contradict
    each other."""
    kinds = strata(corpus)
    pairs = {(i, j): contradictions(corpus, i, j) for i in range(len(corpus.teachers)) for j in range(i)}
    both, against = _counted(corpus, list(pairs.values()))
    found = {AGREEMENT: _by_study(1 - ratio(against, both), kinds)}
    wrong = None if corpus.truth is None else errors(corpus)
    if wrong is None and len(corpus.teachers) == 2:
        return found  # what each states against the other is one number
    for n, name in enumerate(corpus.teachers):
        if wrong is not None:
            found[f"error {name}"] = _by_study(wrong[:, n], kinds)
        else:
            both, against = _counted(corpus, [pair for places, pair in pairs.items() if n in places])
            found[f"dissent {name}"] = _by_study(ratio(against, both), kinds)
    return found


def _counted(corpus: Corpus, pairs: Sequence) -> tuple[np.ndarray, np.ndarray]:
    none = np.zeros((len(corpus.studies), len(corpus.findings)))
    return sum((pair.both for pair in pairs), none), sum((pair.any for pair in pairs), none)


def _by_study(values: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """``[S]`` mean over findings of ``[S, F]`` centred by kind, around the mean of all."""
    known = values[~np.isnan(values)]
    return mean_defined(centred(values, kinds)) + (known.mean() if known.size else np.nan)


def find(
    streams: Mapping[str, np.ndarray],
    place: np.ndarray,
    patients: Sequence[str],
    orders: int = ORDERS,
    seed: int = SEED,
    level: float = LEVEL,
) -> dict[str, Changes]:
    """Of any streams ``[S]`` in the order of ``place`` ``[S]``."""
    known = {name: own for name, own in streams.items() if (~np.isnan(own)).sum() >= FEW and np.nanstd(own) > TINY}
    scaled = {name: (own - np.nanmean(own)) / np.nanstd(own) for name, own in known.items()}
    draw = np.random.default_rng(seed)
    shuffled = [_order(patients, draw) for _ in range(orders)]
    null = np.array([max((statistic(own[order]) for own in scaled.values()), default=np.nan) for order in shuffled])
    return {name: _changes(own, scaled.get(name), place, null, level) for name, own in streams.items()}


def _changes(
    values: np.ndarray, scaled: np.ndarray | None, place: np.ndarray, null: np.ndarray, level: float
) -> Changes:
    kept = np.flatnonzero(~np.isnan(values))
    if scaled is None:
        return Changes((), (float(values[kept].mean()) if len(kept) else np.nan,), np.nan, len(kept))
    ends = _best(scaled, _penalty(null, level))
    cuts = kept[ends[:-1]]
    before = kept[np.array(ends[:-1], int) - 1]
    means = [values[kept[start:end]].mean() for start, end in pairwise([0, *ends])]
    p = (1 + (null >= statistic(scaled)).sum()) / (1 + len(null))
    return Changes(
        tuple(float(v) for v in (place[before] + place[cuts]) / 2), tuple(map(float, means)), float(p), len(kept)
    )


def _penalty(null: np.ndarray, level: float) -> float:
    """Above it lie the statistics whose p is at most ``level``; infinite where there are too few orders for any."""
    allowed = int(level * (1 + len(null)) + 1e-9)
    return float(np.sort(null)[-allowed]) if allowed else np.inf


def _best(values: np.ndarray, penalty: float) -> list[int]:
    """Ends of the stretches, as counts of values that are not NaN, that explain most less ``penalty`` a change."""
    means, edges = binned(values)
    found = _segmentations(means)
    wide = edges[-1] / len(means)
    worth = {k: wide * gain - k * penalty for k, gain in _gains(means, found).items()}
    best = max(worth, key=worth.__getitem__, default=0)
    return [int(edges[end]) for end in (found[best] if best and worth[best] > 0 else [len(means)])]


def _order(patients: Sequence[str], draw: np.random.Generator) -> np.ndarray:
    """A random order of the studies in which those of one patient that stood side by side still do."""
    names = np.array(patients, str)
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    runs = np.split(np.arange(len(names)), starts[1:])
    return np.concatenate([runs[i] for i in draw.permutation(len(runs))])


def binned(values: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Means ``[B]`` of bins of equally many values (or nearly so) that are not NaN, and the edges of the bins
    ``[B + 1]`` as counts of such values."""
    known = values[~np.isnan(values)]
    edges = np.round(np.linspace(0, len(known), min(bins, len(known)) + 1)).astype(int)
    sums = np.concatenate([[0.0], np.cumsum(known)])[edges]
    return np.diff(sums) / np.diff(edges), edges


def statistic(values: np.ndarray) -> float:
    """The largest penalty per change at which ``values`` ``[S]`` have one, in sums of squares of single values."""
    means, edges = binned(values)
    gains = _gains(means, _segmentations(means))
    return edges[-1] / len(means) * max((gain / k for k, gain in gains.items()), default=0.0)


def _segmentations(means: np.ndarray) -> dict[int, list[int]]:
    """Number of changes, up to `MOST`, to the ends of the stretches of the best segmentation that has so many."""
    least = max(2, round(LEAST * len(means)))
    most = min(MOST, len(means) // least - 1)
    if most < 1:
        return {}
    found = KernelCPD(kernel="linear", min_size=least).fit(means[:, None] - means.mean())
    found.predict(n_bkps=most)
    return dict(found.segmentations_dict)


def _gains(means: np.ndarray, segmentations: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """Sum of squares that the means of the stretches explain."""
    sums = np.concatenate([[0.0], np.cumsum(means - means.mean())])
    return {
        k: float(sum((sums[end] - sums[start]) ** 2 / (end - start) for start, end in pairwise([0, *ends])))
        for k, ends in segmentations.items()
    }
