"""Train on one set, answer another: zero-shot transfer, and evaluation sets that lie inside a training set."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.matching import alike
from apo_lightning.types import Study
from data_modules.base import CXRDataModule
from data_modules.folder import FolderDataModule

SHORT = re.compile("[0-9]{1,5}")
"""Patients that say nothing when two sets have them."""
log = logging.getLogger(__name__)


class Transfer(CXRDataModule):
    """``train`` and ``val`` of one set, ``test`` of another.

    Where both sets number the same patients (``patients_of``), training and validation studies of the patients that are
    tested on are left out, and their number is in ``removed``: MS-CXR-T's studies lie in all three splits of MIMIC-CXR.

    Args:
        source: the set that is trained on.
        target: the set that answers are scored on; its ``test`` split is used.
    """

    def __init__(self, source: CXRDataModule, target: CXRDataModule) -> None:
        self.source, self.target, self._made = source, target, False
        source.splits, target.splits = ("train", "val"), ("test",)  # what is not used is neither cut off nor looked at
        self.removed = 0
        """Studies of ``source`` whose patient is tested on."""
        super().__init__(seed=source.seed, num_workers=source.num_workers, augment=source.augment, cache=False)
        self.credentialed = source.credentialed or target.credentialed
        self.citation = "; ".join(dict.fromkeys([source.citation, target.citation]))
        self._made = True

    @property
    def parts(self) -> tuple[CXRDataModule, ...]:
        return (self.source, self.target)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return tuple(self.findings)

    @property
    def findings(self) -> tuple[str, ...]:
        """Those of the set that is trained on. Asked late: a user's own table is read for it."""
        return tuple(self.source.findings) if self._made else ()

    @findings.setter
    def findings(self, names: Sequence[str]) -> None:
        """The base sets what it was given, which is nothing."""

    @property
    def counted(self) -> tuple[str, ...]:
        return self.target.counted

    def read_studies(self, split: str) -> Sequence[Study]:
        """
        Raises:
            DataError: both sets have studies of one id although they are not known to share patients, or of another
                patient than the other set says.
        """
        with _keys_of_the_target():
            tested = self.target.studies("test")
        if split == "test":
            return tested
        own = self.source.studies(split)
        if self._share_patients:
            patients = {study.patient for study in tested}
            kept = [study for study in own if study.patient not in patients]
            self.removed += len(own) - len(kept)
            self._refuse_other_patients(kept, tested)
            return kept
        twice = {study.id for study in own} & {study.id for study in tested}
        if twice:
            raise DataError(
                f"data and evaluate.data both have a study '{min(twice)}' ({len(twice)} in all). Evaluate on the set's "
                "own test split by leaving evaluate.data out, or give sets whose studies have different ids."
            )
        return own

    def _refuse_other_patients(self, kept: Sequence[Study], tested: Sequence[Study]) -> None:
        """
        Raises:
            DataError: a study that is tested on is trained on too, since the sets give it different patients.
        """
        of = {study.id: study.patient for study in tested}
        twice = sorted((study.id, study.patient) for study in kept if study.id in of)
        if twice:
            name, patient = twice[0]
            raise DataError(
                f"data has study '{name}' of patient '{patient}', evaluate.data has it of patient '{of[name]}' "
                f"({len(twice):,} such studies), though both have the patients of '{self.source.patients_of}'. One "
                "table has wrong ids: fetch it again, or correct it."
            )

    @property
    def _share_patients(self) -> bool:
        return bool(self.source.patients_of) and self.source.patients_of == self.target.patients_of

    def images(self, study: Study) -> list[Image.Image]:
        return self._of(study).images(study)

    def open_images(self, study: Study) -> list[Image.Image]:
        return self._of(study).open_images(study)

    def _of(self, study: Study) -> CXRDataModule:
        return self.target if study.split == "test" else self.source

    def check(self, *, report_path: Path | None = None) -> None:
        """Both sets are checked on their own; the second list of unusable rows is beside the first.

        Raises:
            DataError: either set does not pass, or no study is left to train or validate on.
        """
        self._studies.clear()
        self.source.check(report_path=report_path)
        beside = report_path and report_path.with_stem(f"{report_path.stem}_evaluation")
        with _keys_of_the_target():
            self.target.check(report_path=beside)
        self.removed = 0
        for split in self.splits:
            if not self.studies(split):
                raise DataError(
                    f"Split '{split}' has no studies once the {self.removed} of tested patients are left out. Train on "
                    "a larger part (data.data_fraction, data.val_fraction), or answer another set."
                )
        self.bad = [*self.source.bad, *self.target.bad]
        self.notes |= self.source.notes | self.target.notes
        if self.removed:
            self.notes[f"{self.removed:,} studies of patients that are tested on are left out of training"] = None
        (self._say_who_is_shared if self._share_patients else self._say_who_may_be_shared)()

    def _say_who_may_be_shared(self) -> None:
        """Sets of which nobody says that their patients are the same may have them all the same, as a user's own table
        of MIMIC-CXR's images. Short numbers are everywhere."""
        tested = {alike(study.patient, "p"): study.patient for study in self.studies("test")}
        used = {alike(study.patient, "p") for split in ("train", "val") for study in self.studies(split)}
        both = sorted(name for key, name in tested.items() if key in used and not SHORT.fullmatch(key))
        if both:
            text = (
                f"{len(both):,} patient ids are both tested on and trained on (such as '{both[0]}'), and are taken for "
                "different patients, since the two sets are not known to number the same ones. If they are the same, "
                "leave their rows out of the table that is trained on."
            )
            log.warning(text)
            self.notes[text] = None

    def _say_who_is_shared(self) -> None:
        """Two sets of one numbering without a common patient are rather two ways of writing it."""
        tested = {study.patient for study in self.studies("test")}
        known = _every_patient(self.source)
        shared = len(tested & known)
        text = f"{shared:,} of {len(tested):,} patients that are tested on are in the set that is trained on"
        if not shared:
            text = (
                f"None of the {len(tested):,} patients that are tested on (such as '{min(tested)}') is among the "
                f"{len(known):,} of the set that is trained on (such as '{min(known)}'), though both have the patients "
                f"of '{self.source.patients_of}'. If they should overlap, one table has other ids: nobody is left out."
            )
            log.warning(text)
        self.notes[text] = None

    def fingerprint(self) -> str:
        """Moves with either set, and with what is left out of training."""
        return f"{self.source.fingerprint()}+{self.target.fingerprint()}-{self.removed}"

    def facts(self) -> dict[str, Any]:
        """What is used of both, and the facts of each."""
        source, target = self.source.facts(), self.target.facts()
        left_out = dict(Counter(source["left_out"]) + Counter(target["left_out"]))
        fraction = {key: source[key] for key in ("data_fraction", "fraction_by", "seed")}
        both = {"removed": self.removed, "source": source, "target": target}
        return {**super().facts(), **fraction, "left_out": left_out, **both}


def _every_patient(data: CXRDataModule) -> set[str]:
    """Of all splits and shares, used or not."""
    if isinstance(data, FolderDataModule):
        return {study.patient for study in data.index}
    return {study.patient for split in type(data).splits for study in data.read_studies(split)}


@contextmanager
def _keys_of_the_target() -> Iterator[None]:
    """Messages of the second set name its settings where they stand: under ``evaluate.data``."""
    try:
        yield
    except DataError as error:
        raise DataError(re.sub(r"(?<![\w./])data\.(?=[a-z_]+\b)", "evaluate.data.", str(error))) from error
