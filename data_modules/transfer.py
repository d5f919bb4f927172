"""Train on one set, answer another: zero-shot transfer, and evaluation sets that lie inside a training set."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.identifiers.matching import alike
from apo_lightning.types import Study
from data_modules.base import SMALL_SET, CXRDataModule
from data_modules.folder import FolderDataModule
from data_modules.loading.checks import hash_studies
from data_modules.loading.splits import SPLITS

SHORT = re.compile("[0-9]{1,5}")
"""Patients that say nothing when two sets have them."""
log = logging.getLogger(__name__)


class Transfer(CXRDataModule):
    """``train`` and ``val`` of one set, ``test`` of another, and further sets that the same student will answer.

    Where two sets number the same patients (``patients_of``), training and validation studies of the patients that are
    tested on are left out, and their number is in ``removed``: MS-CXR-T's studies lie in all three splits of MIMIC-CXR.

    Args:
        source: the set that is trained on.
        target: the set that answers are scored on; its ``test`` split is used. None: that of ``source``.
        further: others that will be answered, by the key of their section, already checked. Their patients leave
            training too, and nothing else is done with them here.
    """

    def __init__(
        self,
        source: CXRDataModule,
        target: CXRDataModule | None = None,
        further: Mapping[str, CXRDataModule] | None = None,
    ) -> None:
        self.source, self.target, self._made = source, target, False
        self.tested = {**({"evaluate.data": target} if target else {}), **(further or {})}
        """Sets whose patients are not trained on, by the key of their section."""
        if target:  # what is not used is neither cut off nor looked at
            source.splits, target.splits = ("train", "val"), ("test",)
        self.removed = 0
        """Studies of ``source`` whose patient is tested on."""
        super().__init__(seed=source.seed, num_workers=source.num_workers, augment=source.augment, cache=False)
        self.credentialed = any(one.credentialed for one in self.sets)
        self.citation = "; ".join(dict.fromkeys(one.citation for one in self.sets))
        self._made = True

    @property
    def sets(self) -> tuple[CXRDataModule, ...]:
        return (self.source, self.target) if self.target else (self.source,)

    @property
    def answered(self) -> CXRDataModule:
        """The set that the ``test`` split is of."""
        return self.target or self.source

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
    def scored_findings(self) -> tuple[str, ...]:
        return self.answered.scored_findings

    def read_studies(self, split: str) -> Sequence[Study]:
        """
        Raises:
            DataError: two sets have studies of one id although they are not known to share patients, or of another
                patient than the other set says.
        """
        if split == "test":
            with naming(self._key_of(self.answered)):
                return self.answered.studies("test")
        own = self.source.studies(split)
        for key, data in self.tested.items():
            own = self._apart(own, key, data)
        return own

    def _apart(self, own: list[Study], key: str, data: CXRDataModule) -> list[Study]:
        """Studies to train on without those of patients that ``data`` tests on."""
        with naming(key):
            tested = data.studies("test")
        if share_patients(self.source, data):
            patients = {study.patient for study in tested}
            kept = [study for study in own if study.patient not in patients]
            self.removed += len(own) - len(kept)
            self._refuse_other_patients(kept, tested, key)
            return kept
        twice = {study.id for study in own} & {study.id for study in tested}
        if twice:
            raise DataError(
                f"data and {key} both have a study '{min(twice)}' ({len(twice)} in all). Evaluate on the set's "
                f"own test split by leaving {key} out, or give sets whose studies have different ids."
            )
        return own

    def _refuse_other_patients(self, kept: Sequence[Study], tested: Sequence[Study], key: str) -> None:
        """
        Raises:
            DataError: a study that is tested on is trained on too, since the sets give it different patients.
        """
        of = {study.id: study.patient for study in tested}
        twice = sorted((study.id, study.patient) for study in kept if study.id in of)
        if twice:
            name, patient = twice[0]
            raise DataError(
                f"data has study '{name}' of patient '{patient}', {key} has it of patient '{of[name]}' "
                f"({len(twice):,} such studies), though both have the patients of '{self.source.patients_of}'. One "
                "table has wrong ids: fetch it again, or correct it."
            )

    def images(self, study: Study) -> list[Image.Image]:
        return self.set_of(study).images(study)

    def open_images(self, study: Study) -> list[Image.Image]:
        return self.set_of(study).open_images(study)

    def set_of(self, study: Study) -> CXRDataModule:
        """The set that a study is of."""
        return self.answered if study.split == "test" else self.source

    def _key_of(self, data: CXRDataModule) -> str:
        return next((key for key, tested in self.tested.items() if tested is data), "data")

    def check(self, *, report_path: Path | None = None) -> None:
        """Source and target are checked on their own; the second list of unusable rows is beside the first.

        Raises:
            DataError: either set does not pass, or no study is left to train or validate on.
        """
        self._studies.clear()
        self.source.check(report_path=report_path)
        if self.target:
            beside = report_path and report_path.with_stem(f"{report_path.stem}_evaluation")
            with naming("evaluate.data"):
                self.target.check(report_path=beside)
        self.removed = 0
        for split in dict.fromkeys((*self.source.splits, "test")):
            if not self.studies(split):
                raise DataError(
                    f"Split '{split}' has no studies once the {self.removed} of tested patients are left out. Train on "
                    "a larger part (data.data_fraction, data.val_fraction), or answer another set."
                )
        self.bad = [row for one in self.sets for row in one.bad]
        for one in self.sets:
            self.notes |= one.notes
        if self.removed:
            self.notes[f"{self.removed:,} studies of patients that are tested on are left out of training"] = None
        for data in self.tested.values():
            (self._say_who_is_shared if share_patients(self.source, data) else self._say_who_may_be_shared)(data)

    def _say_who_may_be_shared(self, data: CXRDataModule) -> None:
        """Sets of which nobody says that their patients are the same may have them all the same, as a user's own table
        of MIMIC-CXR's images. Short numbers are everywhere."""
        tested = {alike(study.patient, "p"): study.patient for study in data.studies("test")}
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

    def _say_who_is_shared(self, data: CXRDataModule) -> None:
        """Two sets of one numbering without a common patient are rather two ways of writing it."""
        tested = {study.patient for study in data.studies("test")}
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

    def settled(self) -> CXRDataModule:
        """After ``check``: the source itself where this one adds nothing to it, so that a run with further sets depends
        on what it depends on without them."""
        if self.target or self.removed:
            return self
        self.source.notes |= self.notes
        return self.source

    def fingerprint(self) -> str:
        """Moves with all that is trained on and answered."""
        return self.fingerprint_of([study for split in SPLITS for study in self.studies(split)])

    def fingerprint_of(self, studies: Sequence[Study]) -> str:
        """Of some studies, and of how they are shown: training depends on those alone that it sees."""
        found = []
        for one in self.sets:
            if not (own := [study for study in studies if self.set_of(study) is one]):
                continue
            full = sum(len(study.images) for study in own) < SMALL_SET
            how = [getattr(one, key, None) for key in ("augment", "max_side")]
            found.append(f"{hash_studies(own, on_disk=one.on_disk, full=full)}-{how}")
        return "+".join(found)

    def facts(self) -> dict[str, Any]:
        """What is used of both, and the facts of each."""
        source, *target = (one.facts() for one in self.sets)
        left_out = dict(sum((Counter(own["left_out"]) for own in (source, *target)), Counter()))
        fraction = {key: source[key] for key in ("data_fraction", "fraction_by", "seed")}
        both = {"removed": self.removed, "source": source, **({"target": target[0]} if target else {})}
        return {**super().facts(), **fraction, "left_out": left_out, **both}


def share_patients(one: CXRDataModule, other: CXRDataModule) -> bool:
    """Whether two sets are known to number the same patients."""
    return bool(one.patients_of) and one.patients_of == other.patients_of


def _every_patient(data: CXRDataModule) -> set[str]:
    """Of all splits and shares, used or not."""
    if isinstance(data, FolderDataModule):
        return {study.patient for study in data.index}
    return {study.patient for split in type(data).splits for study in data.read_studies(split)}


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Messages of a set name its settings where they stand, as under ``evaluate.data``."""
    try:
        yield
    except DataError as error:
        raise type(error)(re.sub(r"(?<![\w./])data\.(?=[a-z_]+\b)", f"{key}.", str(error))) from error
