"""Teachers that are made up: each has its own accuracy, habits, wording and drift, and needs nothing but labels.

An answer is a pure function of (seed, name, study, t). All draws of a study are made beforehand and do not depend on t;
drift only moves the thresholds they are held against. So a teacher without drift says the same at any t, and a drift of
size 0 changes nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from apo_lightning.errors import did_you_mean
from apo_lightning.phantom import wording
from apo_lightning.phantom.world import FINDINGS, SEVERITIES, SIDED
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import check_stream
from apo_lightning.types import Detail, Study, Trajectory

DEFAULT = "default"
DRIFTS = ("none", "sudden", "gradual", "recurring")
FLIPPED = {"left": "right", "right": "left"}
RIGHT, HEDGE, FLIP, SIDE, SEVERITY = range(5)
"""Columns of a study's draws; the last row holds the refusal in column 0."""


def _uniform(*words: str) -> np.ndarray:
    """``[findings + 1, 5]`` numbers that ``words`` decide."""
    seed = int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:16], "big")
    return np.random.default_rng(seed).random((len(FINDINGS) + 1, 5))


def _share(**values: float) -> None:
    for key, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{key} must be in [0, 1], got {value}")


@dataclass(frozen=True)
class StreamDrift:
    """How accuracy moves along the stream of studies. Over the whole stream it averages to 0.

    Attributes:
        kind: ``none``; ``sudden`` (falls by ``size`` at ``at``); ``gradual`` (falls by ``size`` from the first study to
            the last); ``recurring`` (high for half of every ``period``, lower by ``size`` for the other half).
        size: accuracy lost between the best and the worst time.
        at: t of the sudden fall.
        period: length of a recurring cycle, as a share of the stream.
    """

    kind: str = "none"
    size: float = 0.0
    at: float = 0.5
    period: float = 0.25

    def __post_init__(self) -> None:
        if self.kind not in DRIFTS:
            raise ValueError(f"kind must be one of {', '.join(DRIFTS)}, got '{self.kind}'")
        _share(size=self.size, at=self.at)
        if not 0 < self.period <= 1:
            raise ValueError(f"period must be in (0, 1], got {self.period}")

    def shift(self, t: float) -> float:
        """Accuracy added at place ``t`` of the stream."""
        if self.kind == "sudden":
            return self.size * (1 - self.at) if t < self.at else -self.size * self.at
        if self.kind == "gradual":
            return self.size * (0.5 - t)
        if self.kind == "recurring":
            good = math.floor(t / self.period * 2 + 1e-9) % 2 == 0
            return self.size * (1 - self._good_share) if good else -self.size * self._good_share
        return 0.0

    @property
    def _good_share(self) -> float:
        """Share of [0, 1] in good halves of the period."""
        whole = math.floor(1 / self.period + 1e-9)
        rest = max(0.0, 1 - whole * self.period)
        return whole * self.period / 2 + min(rest, self.period / 2)


@TEACHERS.register("simulated")
@dataclass(frozen=True)
class Simulated:
    """A teacher with known faults.

    Accuracy of one sentence = sensitivity or specificity of its finding, less or more by severity, by its place in the
    report and by t. All three move around the stated value, and are scaled down together where it lies so near to 0 or
    1 that they would leave [0, 1]: so the mean stays the stated one.

    Attributes:
        name: the key under ``teachers:``; part of the seed.
        seed: of all draws.
        sensitivity, specificity: finding to share answered rightly when present, absent; ``default`` for the others.
        side_confusion: share of present findings said on the wrong side.
        hedging: share of positive sentences that are hedged.
        refusal: share of studies refused.
        positive, negative, hedged, opener, closer, refusal_phrase, names: see `phantom.wording.Style`.
        order: findings in the order in which they are spoken of; what is not listed is never spoken of.
        mild_penalty, severe_bonus: sensitivity lost on mild, won on severe findings.
        step_drift: accuracy lost from the first to the last sentence, linearly.
        stream_drift: accuracy moved along the stream.
        common: share of statements on which it does not err by itself, but together with all teachers of this ``seed``
            that have such a share: what is hard to see for one is so for all. Its accuracy stays the stated one.
    """

    name: str
    seed: int = 0
    sensitivity: dict[str, float] = field(default_factory=dict)
    specificity: dict[str, float] = field(default_factory=dict)
    side_confusion: float = 0.0
    hedging: float = 0.0
    refusal: float = 0.0
    positive: int = 0
    negative: int = 0
    hedged: int = 0
    opener: int = 0
    closer: int = 0
    refusal_phrase: int = 0
    names: int = 0
    order: list[str] = field(default_factory=lambda: list(FINDINGS))
    mild_penalty: float = 0.10
    severe_bonus: float = 0.10
    step_drift: float = 0.0
    stream_drift: StreamDrift = field(default_factory=StreamDrift)
    common: float = 0.0

    gives: ClassVar[str] = "text"
    later: ClassVar[tuple[str, ...]] = ("common",)

    def __post_init__(self) -> None:
        _share(
            side_confusion=self.side_confusion,
            hedging=self.hedging,
            refusal=self.refusal,
            mild_penalty=self.mild_penalty,
            severe_bonus=self.severe_bonus,
            step_drift=self.step_drift,
            common=self.common,
        )
        self._check_order()
        for key in ("sensitivity", "specificity"):
            self._check_rates(key, getattr(self, key))
        for key, bank in self._banks().items():
            if not 0 <= getattr(self, key) < len(bank):
                raise ValueError(f"{key} must be in 0..{len(bank) - 1} (phantom/wording.py), got {getattr(self, key)}")

    def signal(self, studies: Sequence[Study], t: Sequence[float]) -> list[Trajectory]:
        """One text per study. Findings whose label is NaN, and those without words, are left out of it."""
        check_stream(studies, t)
        return [
            Trajectory(study.id, self.name, self._text(study, place), place)
            for study, place in zip(studies, t, strict=True)
        ]

    @cached_property
    def style(self) -> wording.Style:
        return wording.Style(
            self.positive,
            self.negative,
            self.hedged,
            self.opener,
            self.closer,
            self.refusal_phrase,
            self.names,
            tuple(self.order),
        )

    def accuracy(self, finding: str, detail: Detail | None, step: float, t: float) -> float:
        """Chance that the sentence on ``finding`` is right.

        Args:
            detail: None where the finding is absent.
            step: place of the sentence in the report, 0 first, 1 last.
            t: place of the study in the stream.
        """
        rates = self.specificity if detail is None else self.sensitivity
        stated = rates[finding] if finding in rates else rates[DEFAULT]
        by_severity = {"mild": -self.mild_penalty, "severe": self.severe_bonus}
        moved = by_severity.get(detail.severity or "", 0.0) if detail else 0.0
        moved += self.step_drift * (0.5 - step) + self.stream_drift.shift(t)
        most = (max(self.mild_penalty, self.severe_bonus) if detail else 0.0) + self.step_drift / 2 + self._most_stream
        room = min(stated, 1 - stated)
        return stated + moved * (min(1.0, room / most) if most else 0.0)

    @cached_property
    def _most_stream(self) -> float:
        drift = self.stream_drift
        edges = (0.0, drift.at, 1.0, drift.period / 2)
        return max(abs(drift.shift(t)) for t in edges)

    def _text(self, study: Study, t: float) -> str:
        draws = self._draws(study.id)
        if draws[-1, 0] < self.refusal:
            return wording.REFUSALS[self.refusal_phrase]
        spoken = [name for name in self.order if not math.isnan(study.findings.get(name, math.nan))]
        said, hedged = {}, set()
        for i, name in enumerate(spoken):
            detail = self._answer(study, name, i / (len(spoken) - 1) if len(spoken) > 1 else 0.5, t, draws)
            if detail is not None:
                said[name] = detail
                if draws[FINDINGS.index(name), HEDGE] < self.hedging:
                    hedged.add(name)
        return wording.compose(self.style, said, spoken, frozenset(hedged))

    def _answer(self, study: Study, finding: str, step: float, t: float, draws: np.ndarray) -> Detail | None:
        """What is said about a finding: None that it is absent, otherwise where and how strong."""
        mine = draws[FINDINGS.index(finding)]
        present = study.findings[finding] == 1
        truth = study.details.get(finding, Detail()) if present else None
        right = mine[RIGHT] < self.accuracy(finding, truth, step, t)
        if not right:
            return None if present else self._invented(finding, study.details, mine)
        if truth is None or truth.side is None or mine[FLIP] >= self.side_confusion:
            return truth
        other = FLIPPED.get(truth.side, ("left", "right")[int(mine[SIDE] * 2)])
        return Detail(other, truth.severity)

    def _invented(self, finding: str, details: Mapping[str, Detail], mine: np.ndarray) -> Detail:
        """Side and severity of a finding that is not there; none for a study without details of its own."""
        if not details:
            return Detail()
        side = ("left", "right")[int(mine[SIDE] * 2)] if finding in SIDED else None
        return Detail(side, SEVERITIES[int(mine[SEVERITY] * len(SEVERITIES))])

    def _draws(self, study: str) -> np.ndarray:
        """``[findings + 1, 5]`` uniform numbers, the same in every process."""
        own = _uniform(str(self.seed), self.name, study)
        if self.common:
            all_ = _uniform(str(self.seed), "", "common", study)
            shared = np.append(all_[:-1, HEDGE] < self.common, False)  # a refusal stays its own
            own[:, RIGHT] = np.where(shared, all_[:, RIGHT], own[:, RIGHT])
        return own

    def _banks(self) -> dict[str, Sequence[object]]:
        return {
            "positive": wording.POSITIVE,
            "negative": wording.NEGATIVE,
            "hedged": wording.HEDGED,
            "opener": wording.OPENERS,
            "closer": wording.CLOSERS,
            "refusal_phrase": wording.REFUSALS,
            "names": wording.NAMES[FINDINGS[0]],
        }

    def _check_order(self) -> None:
        for name in self.order:
            if name not in FINDINGS:
                raise ValueError(f"order: unknown finding '{name}'. {did_you_mean(name, FINDINGS)}")
        if not self.order or len(set(self.order)) != len(self.order):
            raise ValueError(f"order must name at least one finding and none twice, got [{', '.join(self.order)}]")

    def _check_rates(self, key: str, rates: Mapping[str, float]) -> None:
        for name, rate in rates.items():
            if name not in (*FINDINGS, DEFAULT):
                raise ValueError(f"{key}: unknown finding '{name}'. {did_you_mean(name, (*FINDINGS, DEFAULT))}")
            _share(**{f"{key}.{name}": rate})
        missing = [name for name in self.order if name not in rates]
        if missing and DEFAULT not in rates:
            raise ValueError(f"{key} lacks {', '.join(missing)}; name them or give '{DEFAULT}'")
