"""What each teacher adds to the others, and the cheapest of them that do as well.

A teacher's share is what is lost without it: every measure of `metrics.subsets` of all teachers minus that of all
others (leave one out). The cheapest subset is looked for among all, of up to `MOST` teachers; of more by taking away
one after the other. Give validation studies only: a subset that is the best of many on the studies it was chosen on
flatters itself there, so it is tested on others (experiment ``prune_teachers``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Literal, Protocol

import numpy as np

from apo_lightning.errors import DataError
from apo_lightning.metrics.subsets import Bounded, Stated
from apo_lightning.settings import PriceSettings

By = Literal["money", "tokens", "requests"]
MOST = 12
"""Teachers up to which every subset is tried."""
TOKENS_A_WORD = 4 / 3
"""Of English reports, roughly, where nobody counted tokens."""
EQUAL = 1e-12


class Said(Protocol):
    """As much of a `drift.corpus.Corpus` as is looked at."""

    teachers: Sequence[str]
    patients: Sequence[str]
    present: np.ndarray
    said: np.ndarray
    lengths: np.ndarray
    truth: np.ndarray | None


@dataclass(frozen=True)
class Cost:
    """Of one answer, or of many: requests, tokens that are read and written, money, and seconds one after the other."""

    requests: float = 1.0
    tokens: float = 0.0
    money: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, own.name) + getattr(other, own.name) for own in fields(self)))

    def __mul__(self, times: float) -> Cost:
        return Cost(*(getattr(self, own.name) * times for own in fields(self)))


FREE = Cost(0.0)


@dataclass(frozen=True)
class Added:
    """What a teacher adds to all others: measures with it minus without it, and what one answer of it costs."""

    teacher: str
    vote: Bounded
    likelihood: Bounded
    agreement: Bounded
    cost: Cost


@dataclass(frozen=True)
class Subset:
    """Some teachers.

    Attributes:
        teachers: in the order of the corpus.
        vote: accuracy of their vote.
        lost: accuracy of the vote of all minus theirs.
        cost: of an answer of each.
    """

    teachers: tuple[str, ...]
    vote: float
    lost: Bounded
    cost: Cost


@dataclass(frozen=True)
class Ranking:
    """
    Attributes:
        added: each teacher, who adds most to the vote first; of equals who adds more likelihood, then agreement.
        whole: all teachers.
        cheapest: the cheapest teachers whose vote loses at most ``loss``; None without labels.
        loss, by: what was asked for.
        studies: how many were looked at; where some are labelled, of these alone.
    """

    added: tuple[Added, ...]
    whole: Subset
    cheapest: Subset | None
    loss: float
    by: By
    studies: int


def rank(
    corpus: Said,
    costs: Mapping[str, Cost] | None = None,
    *,
    loss: float = 0.01,
    by: By = "requests",
    at_least: int = 1,
) -> Ranking:
    """What each teacher adds on the studies of ``corpus``, and the cheapest subset.

    Args:
        corpus: of validation studies, with ``truth``; without, only the agreement is known.
        costs: teacher to what one of its answers costs; by default one request each.
        loss: by how much the mean accuracy of a subset's vote may be below that of all.
        by: what is to be saved. Of equally cheap subsets the smaller one, then the one whose vote is better, then the
            first in the order of the teachers.
        at_least: how many teachers must be left.

    Raises:
        DataError: there is no study or no teacher.
    """
    names = list(corpus.teachers)
    if not names or not len(corpus.patients):
        raise DataError(f"Teachers cannot be ranked: {len(names)} teachers on {len(corpus.patients)} studies.")
    prices = {name: (costs or {}).get(name, Cost()) for name in names}
    truth = np.full(corpus.said.shape[::2], np.nan) if corpus.truth is None else corpus.truth
    pool = _Pool(Stated(corpus.said, truth, corpus.patients), names, prices)
    added = sorted(map(pool.added, range(len(names))), key=_place)
    labelled = not np.isnan(truth).all()
    cheapest = pool.cheapest(loss, by, min(at_least, len(names))) if labelled else None
    counted = int((~np.isnan(truth)).any(axis=1).sum()) if labelled else len(corpus.patients)
    return Ranking(tuple(added), pool.subset(pool.all), cheapest, loss, by, counted)


@dataclass(frozen=True, eq=False)
class _Pool:
    stated: Stated
    names: list[str]
    prices: Mapping[str, Cost]

    @property
    def all(self) -> tuple[int, ...]:
        return tuple(range(len(self.names)))

    def mask(self, chosen: Sequence[int]) -> np.ndarray:
        return np.isin(np.arange(len(self.names)), np.array(chosen, int))

    def added(self, one: int) -> Added:
        others = [each for each in self.all if each != one]
        found = self.stated.differences(self.mask(self.all), self.mask(others))
        return Added(self.names[one], **found, cost=self.prices[self.names[one]])

    def cost(self, chosen: Sequence[int]) -> Cost:
        return sum((self.prices[self.names[each]] for each in chosen), FREE)

    def subset(self, chosen: Sequence[int]) -> Subset:
        lost = self.stated.differences(self.mask(self.all), self.mask(chosen))["vote"]
        vote = self.stated.vote(self.mask(chosen))
        return Subset(tuple(self.names[each] for each in chosen), vote, lost, self.cost(chosen))

    def cheapest(self, loss: float, by: By, at_least: int) -> Subset:
        floor = self.stated.vote(self.mask(self.all)) - loss - EQUAL
        tried = self._every(at_least) if len(self.names) <= MOST else self._shrinking(floor, by, at_least)
        fitting = ((chosen, vote) for chosen, vote in tried if vote >= floor)
        best = min(fitting, key=lambda own: (getattr(self.cost(own[0]), by), len(own[0]), -own[1], own[0]))
        return self.subset(best[0])

    def _every(self, at_least: int) -> Iterator[tuple[tuple[int, ...], float]]:
        for size in range(at_least, len(self.names) + 1):
            for chosen in combinations(self.all, size):
                yield chosen, self.stated.vote(self.mask(chosen))

    def _shrinking(self, floor: float, by: By, at_least: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """All, then without the dearest teacher that can be spared (of equals the one whose vote is missed least)."""
        chosen, vote = self.all, floor
        yield chosen, self.stated.vote(self.mask(chosen))
        while len(chosen) > at_least:
            without = [tuple(each for each in chosen if each != one) for one in chosen]
            votes = {left: self.stated.vote(self.mask(left)) for left in without}
            spared = [left for left in without if votes[left] >= floor]
            if not spared:
                return
            chosen = min(spared, key=lambda left: (getattr(self.cost(left), by), -votes[left]))
            vote = votes[chosen]
            yield chosen, vote


def cost(words: float, price: PriceSettings | None, prompt_tokens: float) -> Cost:
    """One answer of so many words, where nobody counted tokens: ``prompt_tokens`` are read, and `TOKENS_A_WORD` written
    for each word. Without a price it costs no money."""
    return paid(prompt_tokens, TOKENS_A_WORD * words, price, price.seconds if price else 0.0)


def paid(read: float, written: float, price: PriceSettings | None, seconds: float) -> Cost:
    """One answer of so many tokens, at a price; without one it costs no money."""
    own = price or PriceSettings()
    return Cost(1.0, read + written, (own.input * read + own.output * written) / 1e6, seconds)


def costs(corpus: Said, prices: Mapping[str, PriceSettings], prompt_tokens: float) -> dict[str, Cost]:
    """`cost` of each teacher's mean answer on the studies of ``corpus``."""
    found = {}
    for n, name in enumerate(corpus.teachers):
        words = corpus.lengths[corpus.present[:, n], n]
        found[name] = cost(float(words.mean()) if words.size else 0.0, prices.get(name), prompt_tokens)
    return found


def _place(own: Added) -> tuple[float, ...]:
    """Most first; what is not known last."""
    values = (own.vote.value, own.likelihood.value, own.agreement.value)
    return tuple(np.inf if np.isnan(value) else -round(value, 12) for value in values)
