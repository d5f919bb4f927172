"""Casts of teachers whose drift is known, for `drift_recovery`: texts of `Simulated` ones, or their errors alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from apo_lightning.drift.corpus import SEVERITIES, Corpus
from apo_lightning.phantom.wording import random_style
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.teachers.simulated import DEFAULT, Simulated, StreamDrift
from apo_lightning.types import Detail, Study

TEACHERS = 7
Cast = list[Simulated]


def phantom(seed: int, count: int) -> list[Study]:
    """The first ``count`` studies of a world, one to four a patient."""
    return [
        Study(c.id, str(c.patient), "test", (), {name: float(name in c.present) for name in FINDINGS}, c.present)
        for c in cases(seed, count)
    ]


def random_cast(seed: int, blind: bool = False, common: float = 0.0) -> Cast:
    """Seven teachers of random accuracy, side confusion, step drift, hedging, refusal, wording and order.

    Args:
        seed: of everything.
        blind: each has a finding of its own that it misses far more often.
        common: see `Simulated`.
    """
    draw = np.random.default_rng([seed, 0])
    return [_random_teacher(f"t{i}", seed, draw, blind, common) for i in range(TEACHERS)]


def _random_teacher(name: str, seed: int, draw: np.random.Generator, blind: bool, common: float) -> Simulated:
    style = random_style(draw)
    sensitivity = {DEFAULT: draw.uniform(0.6, 0.9)}
    weak = str(draw.choice(FINDINGS))
    return Simulated(
        name,
        seed,
        sensitivity={**sensitivity, weak: draw.uniform(0.3, 0.5)} if blind else sensitivity,
        specificity={DEFAULT: draw.uniform(0.6, 0.9)},
        side_confusion=draw.uniform(0, 0.4),
        hedging=draw.uniform(0, 0.5),
        refusal=draw.uniform(0, 0.2),
        positive=style.positive,
        negative=style.negative,
        hedged=style.hedged,
        opener=style.opener,
        closer=style.closer,
        refusal_phrase=style.refusal,
        names=style.names,
        order=list(style.order),
        mild_penalty=draw.uniform(0, 0.1),
        severe_bonus=draw.uniform(0, 0.1),
        step_drift=draw.uniform(0, 0.4),
        common=common,
    )


@dataclass(frozen=True)
class Sudden:
    """The planted change: whose, where, and by how much its accuracy falls."""

    teacher: str
    at: float
    fall: float


def with_change(cast: Cast, seed: int, studies: Sequence[Study]) -> tuple[Cast, Sudden]:
    """One teacher of the cast falls at a random place."""
    draw = np.random.default_rng([seed, 1])
    which, at, size = int(draw.integers(len(cast))), draw.uniform(0.15, 0.85), draw.uniform(0.2, 0.4)
    fallen = replace(cast[which], stream_drift=StreamDrift("sudden", size, at=at))
    lost = [fallen.chance(*one, 0.5, 0.0) - fallen.chance(*one, 0.5, 1.0) for one in _asked(studies)]
    return [*cast[:which], fallen, *cast[which + 1 :]], Sudden(fallen.name, at, float(np.mean(lost)))


def _asked(studies: Sequence[Study]) -> list[tuple[str, Detail | None]]:
    return [(name, study.details.get(name)) for study in studies for name in FINDINGS]


def corpus(cast: Cast, studies: Sequence[Study]) -> Corpus:
    """What the cast writes, read."""
    places = np.linspace(0, 1, len(studies)).tolist()
    return Corpus.of([item for one in cast for item in one.signal(studies, places)], studies, FINDINGS)


def planted(teacher: Simulated, studies: Sequence[Study]) -> dict[str, float]:
    """What a perfect measurement would find over these studies: accuracies are scaled where they would leave [0, 1],
    so that neither error nor step drift is what the settings name."""
    spoken = {name: i / (len(teacher.order) - 1) for i, name in enumerate(teacher.order)}
    first, last, step = [], [], []
    for name, detail in _asked(studies):
        first.append(teacher.chance(name, detail, 0.0, 0.5))
        last.append(teacher.chance(name, detail, 1.0, 0.5))
        step.append(spoken[name])
    falls = np.array(first) - np.array(last)
    return {
        "error": float(np.mean(1 - np.array(first) + falls * np.array(step))),
        "side confusion": teacher.side_confusion,
        "step drift": float(falls.mean()),
        "hedging": teacher.hedging,
        "refusal": teacher.refusal,
    }


@dataclass(frozen=True)
class World:
    """Where errors are drawn from without a text, for levels that take thousands of corpora.

    Attributes:
        studies: how many.
        common: share of statements on which the first three teachers meet one draw.
        uneven: deviation, in logits, of each teacher's error rate from patient to patient.
        drift: how much error all teachers gain from the first study to the last.
    """

    studies: int = 300
    common: float = 0.0
    uneven: float = 0.0
    drift: float = 0.0

    def draw(self, seed: int) -> Corpus:
        """Seven teachers of random sensitivity and specificity that speak of everything."""
        draw = np.random.default_rng([seed, 2])
        studies = phantom(seed, self.studies)
        truth = np.array([[study.findings[name] for name in FINDINGS] for study in studies])
        grades = np.array([[_grade(study, name) for name in FINDINGS] for study in studies], np.int8)
        _, who = np.unique([study.patient for study in studies], return_inverse=True)
        size = (len(studies), TEACHERS, len(FINDINGS))
        sick, well = draw.uniform(0.15, 0.4, (2, TEACHERS))
        rates = np.where(truth[:, None] == 1, sick[:, None], well[:, None])
        rates = rates + (grades[:, None] == 1) * 0.05 - (grades[:, None] == 3) * 0.05
        rates = rates + self.drift * (np.linspace(0, 1, len(studies))[:, None, None] - 0.5)
        bent = self.uneven * draw.normal(size=(who.max() + 1, TEACHERS, 1))[who]
        rates = 1 / (1 + np.exp(-(np.log(rates / (1 - rates)) + bent)))
        shared = draw.random((len(studies), 1, len(FINDINGS))) < self.common * (np.arange(TEACHERS) < 3)[:, None]
        drawn = np.where(shared, draw.random((len(studies), 1, len(FINDINGS))), draw.random(size))
        said = np.where(drawn < rates, 1 - truth[:, None], truth[:, None])
        return stated(said, studies, truth, grades)


def _grade(study: Study, name: str) -> int:
    return SEVERITIES.index(study.details[name].severity or "") if name in study.details else 0


def stated(said: np.ndarray, studies: Sequence[Study], truth: np.ndarray, grades: np.ndarray) -> Corpus:
    """A corpus of statements ``[S, N, F]`` and nothing else."""
    none = np.zeros(said.shape, np.int8)
    return Corpus(
        studies=tuple(study.id for study in studies),
        patients=tuple(study.patient for study in studies),
        teachers=tuple(f"t{i}" for i in range(said.shape[1])),
        findings=FINDINGS,
        texts={},
        place=np.linspace(0, 1, len(studies)),
        present=np.ones(said.shape[:2], bool),
        kind=np.full(said.shape[:2], 3, np.int8),
        said=said,
        sides=none,
        severities=none,
        hedged=none.astype(bool),
        steps=np.full(said.shape, np.nan),
        lengths=np.ones(said.shape[:2], int),
        truth=truth,
        true_severities=grades,
    )
