"""Who has what: patients, their studies and findings, from a seed. Images and words are made from this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apo_lightning.types import Detail

FINDINGS = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
"""The five of MS-CXR-T with atelectasis and cardiomegaly, in the order used everywhere."""

SIDED = frozenset({"atelectasis", "consolidation", "pleural_effusion", "pneumonia", "pneumothorax"})
SEVERITIES = ("mild", "moderate", "severe")
SIDES = ("left", "right", "bilateral")

PREVALENCE = {
    "atelectasis": 0.40,
    "cardiomegaly": 0.45,
    "consolidation": 0.40,
    "edema": 0.40,
    "pleural_effusion": 0.45,
    "pneumonia": 0.40,
    "pneumothorax": 0.40,
}
"""Far above a clinic's, so that a few hundred studies hold enough of everything to measure."""

BILATERAL = {"pleural_effusion": 0.2, "pneumonia": 0.15}
PERSISTENCE = 0.5
"""Chance that a finding of the last study is simply still there (or still absent) in the next one."""


@dataclass(frozen=True)
class Body:
    """What stays the same over a patient's studies; lengths as fractions of the image side."""

    lung_width: float
    lung_height: float
    heart: float
    rotation: float
    exposure: float
    texture: int


@dataclass(frozen=True)
class Case:
    """One study: whose body, which findings with side and severity, and the seed of its noise."""

    patient: int
    number: int
    body: Body
    present: dict[str, Detail]
    noise: int

    @property
    def id(self) -> str:
        return f"p{self.patient:05d}s{self.number}"


def _body(rng: np.random.Generator) -> Body:
    return Body(
        lung_width=rng.uniform(0.155, 0.185),
        lung_height=rng.uniform(0.30, 0.34),
        heart=rng.uniform(0.40, 0.46),
        rotation=rng.normal(0, 0.01),
        exposure=rng.uniform(0.92, 1.08),
        texture=int(rng.integers(2**31)),
    )


def _detail(finding: str, rng: np.random.Generator) -> Detail:
    severity = SEVERITIES[rng.integers(3)]
    if finding not in SIDED:
        return Detail(None, severity)
    if rng.random() < BILATERAL.get(finding, 0.0):
        return Detail("bilateral", severity)
    return Detail(SIDES[rng.integers(2)], severity)


def _present(last: dict[str, Detail] | None, rng: np.random.Generator) -> dict[str, Detail]:
    found = {}
    for finding in FINDINGS:
        stays = last is not None and rng.random() < PERSISTENCE
        if stays and finding in last:
            found[finding] = last[finding]
        elif not stays and rng.random() < PREVALENCE[finding]:
            found[finding] = _detail(finding, rng)
    return found


def patient_cases(seed: int, patient: int) -> list[Case]:
    """All studies (1 to 4) of one patient, a pure function of both arguments."""
    rng = np.random.default_rng([seed, patient])
    body, last, cases = _body(rng), None, []
    for number in range(int(rng.integers(1, 5))):
        last = _present(last, rng)
        cases.append(Case(patient, number, body, last, int(rng.integers(2**31))))
    return cases


def cases(seed: int, count: int, first_patient: int = 0) -> list[Case]:
    """The first ``count`` studies of consecutive patients."""
    found: list[Case] = []
    patient = first_patient
    while len(found) < count:
        found.extend(patient_cases(seed, patient))
        patient += 1
    return found[:count]
