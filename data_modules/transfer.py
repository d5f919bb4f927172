"""Train on one set, answer another: zero-shot transfer, and evaluation sets that lie inside a training set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.types import Study
from data_modules.base import CXRDataModule


class Transfer(CXRDataModule):
    """``train`` and ``val`` of one set, ``test`` of another.

    Where both sets number the same patients (``patients_of``), training and validation studies of the patients that are
    tested on are left out, and their number is in ``removed``: MS-CXR-T's studies lie in all three splits of MIMIC-CXR.

    Args:
        source: the set that is trained on.
        target: the set that answers are scored on; its ``test`` split is used.
    """

    def __init__(self, source: CXRDataModule, target: CXRDataModule) -> None:
        self.source, self.target = source, target
        source.splits = ("train", "val")  # its own test part is neither cut off nor looked at
        self.removed = 0
        """Studies of ``source`` whose patient is tested on."""
        super().__init__(seed=source.seed, num_workers=source.num_workers, augment=source.augment, cache=False)
        self.vocabulary = self.findings = source.findings
        self.credentialed = source.credentialed or target.credentialed
        self.citation = "; ".join(dict.fromkeys([source.citation, target.citation]))

    @property
    def parts(self) -> tuple[CXRDataModule, ...]:
        return (self.source, self.target)

    @property
    def counted(self) -> tuple[str, ...]:
        return self.target.counted

    def read_studies(self, split: str) -> Sequence[Study]:
        """
        Raises:
            DataError: both sets have studies of one id although they are not known to share patients.
        """
        if split == "test":
            return self.target.studies("test")
        own, tested = self.source.studies(split), self.target.studies("test")
        if self.source.patients_of and self.source.patients_of == self.target.patients_of:
            patients = {study.patient for study in tested}
            kept = [study for study in own if study.patient not in patients]
            self.removed += len(own) - len(kept)
            return kept
        twice = {study.id for study in own} & {study.id for study in tested}
        if twice:
            raise DataError(
                f"data and evaluate.data both have a study '{min(twice)}' ({len(twice)} in all). Evaluate on the set's "
                "own test split by leaving evaluate.data out, or give sets whose studies have different ids."
            )
        return own

    def images(self, study: Study) -> list[Image.Image]:
        return (self.target if study.split == "test" else self.source).images(study)

    def check(self, *, report_path: Path | None = None) -> None:
        """Both sets are checked on their own; the second list of unusable rows is beside the first."""
        self._studies.clear()
        self.source.check(report_path=report_path)
        beside = report_path and report_path.with_stem(f"{report_path.stem}_evaluation")
        self.target.check(report_path=beside)
        self.removed = 0
        for split in self.splits:
            if not self.studies(split):
                raise DataError(
                    f"Split '{split}' has no studies once the {self.removed} of tested patients are left out."
                )
        self.bad = [*self.source.bad, *self.target.bad]
        self.notes |= self.source.notes | self.target.notes
        if self.removed:
            self.notes[f"{self.removed:,} studies of patients that are tested on are left out of training"] = None

    def fingerprint(self) -> str:
        return f"{self.source.fingerprint()}+{self.target.fingerprint()}-{self.removed}"

    def facts(self) -> dict[str, Any]:
        own = super().facts()
        return {**own, "removed": self.removed, "source": self.source.facts(), "target": self.target.facts()}
