"""What every data set shares: splits by patient, data fraction, checks, image cache, fingerprint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from apo_lightning.findings import CANONICAL
from apo_lightning.types import Study
from data_modules.loading import checks
from data_modules.loading.loaders import Loaders
from data_modules.loading.splits import SPLITS, share_of_patients
from data_modules.tables import Faults

SMALL_SET = 5_000
"""Below this many images every one is decoded by ``check`` and hashed by ``fingerprint``."""
CACHE_BYTES = 1 << 30
"""Decoded images kept in memory by each process, at most."""


@dataclass(eq=False, kw_only=True)
class CXRDataModule(Loaders):
    """A chest X-ray data set. A subclass gives ``read_studies`` and ``open_images``; sets in folders extend
    ``FolderDataModule`` and give ``read_index`` alone.

    Args:
        seed: of the data fraction and of splits that are cut here, >= 0.
        data_fraction: share of the training set that is used, in (0, 1]. Nested: 1 % lies inside 10 %.
        fraction_by: ``patient`` draws whole patients, ``study`` single studies.
        limit_studies: studies of each split that are used, the first ones; None: all.
        findings: those that are used, of the set's ``vocabulary``; empty means all.
        augment: ``none`` or ``mild``: small rotations, shifts, contrast and noise of training images, never a flip.
        num_workers: processes that load images; 0 loads in the training process.
        max_bad_share: share of unusable rows and unreadable studies above which ``check`` refuses the set, in [0, 1].
        cache: keep decoded images in memory, up to ``CACHE_BYTES`` a process.
    """

    seed: int = 0
    data_fraction: float = 1.0
    fraction_by: str = "patient"
    limit_studies: int | None = None
    findings: list[str] = field(default_factory=list)
    augment: str = "none"
    num_workers: int = 0
    max_bad_share: float = 0.01
    cache: bool = True

    credentialed: ClassVar[bool] = False
    """Under a data use agreement: nothing of it leaves the machine unless the user says so."""
    citation: ClassVar[str] = ""
    vocabulary: ClassVar[tuple[str, ...]] = CANONICAL
    """Findings that the set has labels for."""
    splits: ClassVar[tuple[str, ...]] = SPLITS
    """Those that the set has. One with ``test`` alone is for evaluation: name it in ``evaluate.data``."""
    patients_of: ClassVar[str] = ""
    """Whose patient ids these are, where several sets share them (MIMIC-CXR's, CXR-MAX's and MS-CXR-T's)."""
    listed: ClassVar[bool] = False
    """A list says which studies are used: no fraction is drawn from it."""
    on_disk: ClassVar[bool] = True
    """Image references are file paths. False: ``open_images`` draws them, and only a few are tried by ``check``."""

    def __post_init__(self) -> None:
        super().__init__()
        checks.check_settings(self)
        self.findings = tuple(self.findings) or self.vocabulary
        self.faults = Faults()
        """Rows of tables that cannot be used."""
        self.bad: list[tuple[str, str]] = []
        """What ``check`` found: the faults, and studies whose images cannot be read."""
        self.left_out: Counter[str] = Counter()
        """Studies that the settings exclude, by reason: no fault of the data."""
        self.notes: dict[str, None] = {}
        """What was found where, each sentence once; printed before a run."""
        self._studies: dict[str, list[Study]] = {}
        self._unreadable, self._cached_bytes = set[str](), 0
        self._cache: dict[str, list[Image.Image]] = {}

    @property
    def sets(self) -> tuple[CXRDataModule, ...]:
        """The sets that this one is made of."""
        return (self,)

    @property
    def scored_findings(self) -> tuple[str, ...]:
        """Findings on which answers to the evaluation split are scored."""
        return tuple(self.findings)

    def read_studies(self, split: str) -> Sequence[Study]:
        """All studies of one split, in a fixed order, before ``data_fraction``. Raises DataError on bad tables."""
        raise NotImplementedError

    def complete(self, studies: list[Study]) -> list[Study]:
        """Add to the studies that are used what would be too slow to read for all (reports), and leave out those
        that lack something. Once a split, after ``data_fraction``."""
        return studies

    def open_images(self, study: Study) -> list[Image.Image]:
        """Images of the prior examination, then of the study, PIL mode ``L``. Raises DataError naming the file."""
        raise NotImplementedError

    def studies(self, split: str) -> list[Study]:
        """Studies that are used: after ``data_fraction`` and, once ``check`` has run, without unreadable ones.

        Raises:
            ValueError: there is no such split.
            DataError: a table cannot be read, or images are not there.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got '{split}'")
        if split not in self._studies:
            found = list(self.read_studies(split)) if split in self.splits else []
            if split == "train" and self.data_fraction < 1 and not self.listed:
                key = attrgetter("patient" if self.fraction_by == "patient" else "id")
                kept = share_of_patients(map(key, found), self.data_fraction, self.seed)
                found = [study for study in found if key(study) in kept]
            found = self.complete(found[: self.limit_studies])
            self._studies[split] = found if set(self.findings) == set(self.vocabulary) else self._narrowed(found)
        return [study for study in self._studies[split] if study.id not in self._unreadable]

    def _narrowed(self, studies: list[Study]) -> list[Study]:
        """Labels of ``findings`` alone, wherever a study has them."""
        wanted = set(self.findings)

        def only(labels: Mapping[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in labels.items() if name in wanted}

        return [
            replace(
                s,
                findings=only(s.findings),
                details=only(s.details),
                progression=only(s.progression),
                boxes=tuple(box for box in s.boxes if box.finding in wanted),
            )
            for s in studies
        ]

    def images(self, study: Study) -> list[Image.Image]:
        """``open_images`` through the cache. The images are shared: do not draw on them."""
        held = self._cache.get(study.id)
        if held is None:
            held = self.open_images(study)
            size = sum(image.width * image.height for image in held)
            if self.cache and self._cached_bytes + size <= CACHE_BYTES:
                self._cache[study.id] = held
                self._cached_bytes += size
        return list(held)

    def check(self, *, report_path: Path | None = None) -> None:
        """Look at everything that will be used, before any training.

        Sets below ``SMALL_SET`` images are decoded in full. Of larger sets every file is looked at (there, not empty)
        and a seeded sample is decoded. Unreadable studies are dropped and listed in ``bad`` as (reference, reason)
        beside the unusable rows of tables, and in ``report_path`` where given.

        Raises:
            DataError: an empty split, a study or patient in two splits, a finding that is not 0, 1 or NaN, or more
                unusable rows and unreadable studies than ``max_bad_share``, of all or of those that were decoded.
        """
        self._unreadable = set()  # a second check begins with all studies again
        splits = {split: self.studies(split) for split in self.splits}
        used = [study for studies in splits.values() for study in studies]
        found: dict[str, tuple[str, str]] = {}
        decoded: set[str] = set()
        if used or not self.faults:
            checks.check_splits(splits, self.faults)
            checks.check_findings(splits, self.findings)
            found, decoded = checks.find_bad_images(
                used, self.images, on_disk=self.on_disk, full=_is_small(used), seed=self.seed
            )
        self.bad = sorted([*self.faults, *found.values()])
        checks.report_bad(
            self.bad,
            used=len(used) + len(self.faults),
            allowed=self.max_bad_share,
            report_path=report_path,
            first=next(iter(self.faults), None),
            decoded=len(decoded),
            undecodable=len(decoded & found.keys()),
        )
        self._unreadable = set(found)
        checks.check_splits({split: self.studies(split) for split in self.splits})

    def facts(self) -> dict[str, Any]:
        """What a run's manifest says of the data, after ``check``."""
        used = {split: self.studies(split) for split in SPLITS}
        return {
            "studies": {split: len(studies) for split, studies in used.items()},
            "patients": {split: len({s.patient for s in studies}) for split, studies in used.items()},
            "data_fraction": 1.0 if self.listed else self.data_fraction,
            "fraction_by": self.fraction_by,
            "seed": self.seed,
            "unusable": len(self.bad),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }

    def fingerprint(self) -> str:
        """SHA-256 over what a run sees: studies, labels, reports and image contents (sizes only, from ``SMALL_SET``).

        Independent of where the set lies and of file times. Call it after ``check``, which may drop studies.

        Raises:
            DataError: an image file cannot be read.
        """
        used = [study for split in SPLITS for study in self.studies(split)]
        seen = checks.hash_studies(used, on_disk=self.on_disk, full=_is_small(used))
        how = {
            key: value for key in ("augment", "max_side") if (value := getattr(self, key, None)) not in (None, "none")
        }
        return f"{seen}-{how}" if how else seen

    def setup(self, stage: str | None = None) -> None:
        """Read the splits that a Trainer's call needs (``fit``, ``validate``, ``test``; None: all), so that a faulty
        table stops it before a step. ``prepare_data`` has nothing to do: sets lie where the settings say, and nothing
        is fetched.

        Raises:
            DataError: see `studies`.
        """
        for split in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), None: SPLITS}.get(stage, ()):
            self.studies(split)

    def __getstate__(self) -> dict[str, Any]:
        """Loading processes need neither the trainer nor a copy of the cache."""
        return {**self.__dict__, "trainer": None, "_cache": {}, "_cached_bytes": 0}


def _is_small(studies: Sequence[Study]) -> bool:
    return sum(len(study.images) for study in studies) < SMALL_SET
