"""The embedded default: drawn radiographs with known findings. Needs no file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from apo_lightning.phantom.domains import DOMAINS, shift
from apo_lightning.phantom.drawing import DRAWING, draw
from apo_lightning.phantom.wording import ground_truth
from apo_lightning.phantom.world import FINDINGS, Case, patient_cases
from apo_lightning.types import Study
from data_modules import DATA
from data_modules.base import CXRDataModule

STRIDE = 100_000
"""Patients of the three splits are numbered from 0, 1 and 2 strides: no patient is in two splits, and a larger training
set holds the smaller one."""


@DATA.register("phantom")
@dataclass(eq=False, kw_only=True)
class Phantom(CXRDataModule):
    """Studies drawn from ``seed``.

    Args:
        train, val, test: number of studies of each split; a patient has one to four.
        size: side of the drawn image in pixels.
        domain: ``home``, or one of the shifted ones: scanner, portable, cropped, inverted.
    """

    train: int = 600
    val: int = 120
    test: int = 300
    size: int = 112
    domain: str = "home"

    vocabulary: ClassVar[tuple[str, ...]] = FINDINGS
    citation: ClassVar[str] = "drawn by apo-lightning; no patient"
    on_disk: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("train", "val", "test", "size"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be >= 1, got {getattr(self, key)}")
        if self.domain not in DOMAINS:
            raise ValueError(f"domain must be one of {', '.join(DOMAINS)}, got '{self.domain}'")
        self._cases: dict[str, Case] = {}

    def read_studies(self, split: str) -> Sequence[Study]:
        count, patient = getattr(self, split), STRIDE * ("train", "val", "test").index(split)
        found: list[Study] = []
        while len(found) < count:
            found += [self._study(case, split) for case in patient_cases(self.seed, patient)]
            patient += 1
        return found[:count]

    def _study(self, case: Case, split: str) -> Study:
        self._cases[case.id] = case
        reference = f"phantom{DRAWING}:{self.seed}:{case.id}:{self.size}:{self.domain}"
        findings = {name: float(name in case.present) for name in FINDINGS}
        report = ground_truth(case.present)
        return Study(case.id, f"p{case.patient:05d}", split, (reference,), findings, dict(case.present), report)

    def open_images(self, study: Study) -> list[Image.Image]:
        case = self._cases[study.id]
        return [shift(draw(case, self.size), self.domain, case.noise)]
