"""How good some of the teachers are together: their vote, how likely it makes the labels, how far they agree.

Three measures of a subset, on studies with labels, from what each teacher states:

- ``vote``: accuracy of the majority (`text.votes`: a tie counts as absent, who does not state a finding abstains; one
  that nobody states counts as absent), the mean over findings of the share of labelled studies on which it is right;
- ``likelihood``: mean log-probability, in nats, that the share of votes gives to the label, `(votes for it + 1) /
  (votes + 2)` after Laplace; the mean over findings. It sees what the threshold of the vote hides: a teacher who makes
  a narrow majority a clear one adds to it;
- ``agreement``: of all pairs of teachers that state a finding of a study, the share that says the same. No label is
  looked at.

Letters in shapes: S studies, N teachers, F findings, R resamples of patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from apo_lightning.metrics.bootstrap import RESAMPLES, SEED, draws, limits
from apo_lightning.metrics.outcomes import mean_defined, ratio

MEASURES = ("vote", "likelihood", "agreement")


@dataclass(frozen=True)
class Bounded:
    """A value and the ends of its 95 % interval over patients (`bootstrap.limits`); NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Stated:
    """What teachers state, beside the labels.

    Attributes:
        said: ``[S, N, F]`` 1, 0, NaN not stated.
        truth: ``[S, F]`` 1, 0, NaN unknown.
        patients: ``[S]``.

    Raises:
        ValueError: shapes do not agree.
    """

    said: np.ndarray
    truth: np.ndarray
    patients: Sequence[str]
    _drawn: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.said.ndim != 3 or self.truth.shape != self.said.shape[::2] or len(self.patients) != len(self.said):
            raise ValueError(
                f"said must be [studies, teachers, findings] and truth [studies, findings] of {len(self.patients)} "
                f"patients' studies, got {list(self.said.shape)} and {list(self.truth.shape)}"
            )

    def of(self, chosen: np.ndarray) -> dict[str, float]:
        """Every measure of the teachers marked in ``chosen`` ``[N]`` (bool); NaN where it is not defined."""
        once = np.ones((1, len(self.said)))
        return {name: float(_value(over, under, once)[0]) for name, (over, under) in self._sums(chosen).items()}

    def vote(self, chosen: np.ndarray) -> float:
        """The accuracy of their vote alone."""
        return float(_value(*self._vote(chosen), np.ones((1, len(self.said))))[0])

    def differences(self, one: np.ndarray, other: np.ndarray) -> dict[str, Bounded]:
        """Every measure of ``one`` minus that of ``other``, over the same resamples of patients."""
        times = np.concatenate([np.ones((1, len(self.said))), self._times()])
        first, second = self._sums(one), self._sums(other)
        found = {}
        for name in MEASURES:
            drawn = _value(*first[name], times) - _value(*second[name], times)
            ends = limits(drawn[:1], drawn[None, 1:], len(set(self.patients)), least=-np.inf)
            found[name] = Bounded(float(drawn[0]), *ends)
        return found

    def _times(self) -> np.ndarray:
        """``[R, S]`` how often each study is drawn, with all those of its patient."""
        if "times" not in self._drawn:
            _, place = np.unique(np.array([*self.patients], str), return_inverse=True)
            drawn = draws(int(place.max(initial=-1)) + 1, RESAMPLES, np.random.default_rng([SEED, 0]))
            self._drawn["times"] = drawn[:, place]
        return self._drawn["times"]

    def _sums(self, chosen: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Measure to what is summed over studies and what divides it, ``[S, F]`` each (``[S, 1]`` of the agreement)."""
        yes, no = self._votes(chosen)
        known, each = ~np.isnan(self.truth), yes + no
        for_label = np.where(self.truth == 1, yes, no)
        likely = np.where(known, np.log((for_label + 1) / (each + 2)), 0)
        pairs, alike = each * (each - 1) / 2, (yes * (yes - 1) + no * (no - 1)) / 2
        agreed = alike.sum(axis=1, keepdims=True), pairs.sum(axis=1, keepdims=True)
        return {"vote": self._vote(chosen), "likelihood": (likely, known.astype(float)), "agreement": agreed}

    def _vote(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        yes, no = self._votes(chosen)
        known = ~np.isnan(self.truth)
        return (known & ((yes > no) == (self.truth == 1))).astype(float), known.astype(float)

    def _votes(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        heard = self.said[:, np.asarray(chosen, bool)]
        return (heard == 1).sum(axis=1), (heard == 0).sum(axis=1)


def _value(over: np.ndarray, under: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``[R]``: the mean over findings of a ratio of sums over studies, each counted ``times`` ``[R, S]``."""
    return mean_defined(ratio(times @ over, times @ under))
