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
from apo_lightning.teachers.streams import StreamDrift, shares
from apo_lightning.types import Detail, Study, Trajectory

DEFAULT = "default"
FLIPPED = {"left": "right", "right": "left"}
HABITS = ("order", "opener", "positive", "negative", "names", "closer", "form", "normal", "hedged", "refusal")
"""Parts of `phantom.wording.Style` in which teachers differ, those first that change a text most."""
RIGHT, HEDGE, FLIP, SIDE, SEVERITY = range(5)
"""Columns of a study's draws; the last row holds the refusal in column 0."""


def _uniform(*words: str) -> np.ndarray:
    """``[findings + 1, 5]`` numbers that ``words`` decide."""
    seed = int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:16], "big")
    return np.random.default_rng(seed).random((len(FINDINGS) + 1, 5))


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
        positive, negative, hedged, opener, closer, refusal_phrase, names, form, normal: see `phantom.wording.Style`.
        order: findings in the order in which they are spoken of; what is not listed is never spoken of.
        mild_penalty, severe_bonus: sensitivity lost on mild, won on severe findings.
        step_drift: accuracy lost from the first to the last sentence, linearly.
        stream_drift: accuracy moved along the stream.
        common: share of statements on which it does not err by itself, but together with all teachers of this ``seed``
            that have such a share: what is hard to see for one is so for all. Its accuracy stays the stated one, and
            two teachers that err equally often have errors of this correlation.
        camp: those that err together by ``common`` are those of one camp.
        accuracy: sensitivity and specificity of every finding, in place of the ones above.
        spread: share of its habits of speech that are its own, in the order of `HABITS`; the others are those of
            `phantom.wording.PLAIN`. At 0 all teachers speak alike.
        extras: share of studies in which it adds what nobody can have seen (`phantom.wording.EXTRAS`).
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
    form: int = 0
    normal: int = 0
    camp: str = ""
    accuracy: float | None = None
    spread: float = 1.0
    extras: float = 0.0

    gives: ClassVar[str] = "text"
    later: ClassVar[tuple[str, ...]] = ("common", "form", "normal", "camp", "accuracy", "spread", "extras")

    def __post_init__(self) -> None:
        shares(
            side_confusion=self.side_confusion,
            hedging=self.hedging,
            refusal=self.refusal,
            mild_penalty=self.mild_penalty,
            severe_bonus=self.severe_bonus,
            step_drift=self.step_drift,
            common=self.common,
            accuracy=0 if self.accuracy is None else self.accuracy,
            spread=self.spread,
            extras=self.extras,
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
        own = {"refusal": self.refusal_phrase, **{key: getattr(self, key) for key in HABITS if key != "refusal"}}
        kept = HABITS[: round(self.spread * len(HABITS))]
        return wording.Style(**{key: tuple(own[key]) if key == "order" else own[key] for key in kept})

    def chance(self, finding: str, detail: Detail | None, step: float, t: float) -> float:
        """Chance that the sentence on ``finding`` is right.

        Args:
            detail: None where the finding is absent.
            step: place of the sentence in the report, 0 first, 1 last.
            t: place of the study in the stream.
        """
        rates = self.specificity if detail is None else self.sensitivity
        stated = self.accuracy if self.accuracy is not None else rates.get(finding, rates.get(DEFAULT, math.nan))
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
            return wording.REFUSALS[self.style.refusal]
        asked = [name for name in self.style.order if name in self.order]
        spoken = [name for name in asked if not math.isnan(study.findings.get(name, math.nan))]
        said, hedged = {}, set()
        for i, name in enumerate(spoken):
            detail = self._answer(study, name, i / (len(spoken) - 1) if len(spoken) > 1 else 0.5, t, draws)
            if detail is not None:
                said[name] = detail
                if draws[FINDINGS.index(name), HEDGE] < self.hedging:
                    hedged.add(name)
        return wording.compose(self.style, said, spoken, frozenset(hedged), self._extras(study.id))

    def _extras(self, study: str) -> list[str]:
        """One thing that nobody can have seen, or none; other draws are none of its business."""
        if not self.extras:
            return []
        draws = _uniform(str(self.seed), self.name, "extras", study)[0]
        which = wording.EXTRAS[int(draws[1] * len(wording.EXTRAS))]
        return [which] if draws[0] < self.extras else []

    def _answer(self, study: Study, finding: str, step: float, t: float, draws: np.ndarray) -> Detail | None:
        """What is said about a finding: None that it is absent, otherwise where and how strong."""
        mine = draws[FINDINGS.index(finding)]
        present = study.findings[finding] == 1
        truth = study.details.get(finding, Detail()) if present else None
        right = mine[RIGHT] < self.chance(finding, truth, step, t)
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
            all_ = _uniform(str(self.seed), self.camp, "common", study)
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
            "form": wording.FORMS,
            "normal": wording.NORMAL,
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
            shares(**{f"{key}.{name}": rate})
        missing = [name for name in self.order if name not in rates and self.accuracy is None]
        if missing and DEFAULT not in rates:
            raise ValueError(f"{key} lacks {', '.join(missing)}; name them or give '{DEFAULT}'")
