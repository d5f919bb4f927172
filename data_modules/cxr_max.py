"""CXR-MAX: MIMIC-CXR images with the reasoning of seven models about their findings, in this project's own file.

The paper counts 170,982 trajectories, which would be seven for each of 24,426 images. File names, columns and split of
the release were not found when this was written: ``apo data import`` brings it, or any other set of trajectories, into
the file that is read here.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from apo_lightning.errors import AbsentError, DataError, did_you_mean
from apo_lightning.findings import CHEXPERT, NO_FINDING, canonical
from apo_lightning.identifiers.forms import MIMIC_SUBJECT, TEXT
from apo_lightning.identifiers.matching import may_be_one
from apo_lightning.trajectories import records
from apo_lightning.types import Study
from data_modules import DATA
from data_modules.folder import FolderDataModule, require_folder
from data_modules.loading.splits import NAMES, SPLITS
from data_modules.tables.identifiers import UNSURE
from data_modules.tables.labels import NOT_A_DISEASE, UNMENTIONED, settle

MIMIC_PATIENT = re.compile(r"(?:^|/)p([0-9]{8})(?=/)", re.IGNORECASE)
"""The patient's folder in MIMIC-CXR's layout, ``files/p10/p10000032/s50414267/<dicom>.jpg``."""
STUDY = replace(TEXT, what="id")
PATIENTS = {"mimic": MIMIC_SUBJECT, "own": replace(TEXT, what="patient")}
"""Form of the key ``patient``, by whose ids it has."""


class _Row(NamedTuple):
    """A usable line; ``labels`` are canonical, None where the line has none."""

    where: str
    id: str
    patient: str
    split: str
    paths: tuple[str, ...]
    labels: frozenset[str] | None
    report: str | None


@DATA.register("cxr_max")
@dataclass(eq=False, kw_only=True)
class CxrMax(FolderDataModule):
    """Images with labels, reports and trajectories, one line per image; `trajectory_files` gives the format.

    The same file serves the teachers: ``teachers.gpt5: {kind: recorded, path: <root>/cxr_max.jsonl}``. Patients are the
    key ``patient``, or the folder in MIMIC-CXR's layout; one that is no subject id of MIMIC-CXR makes a line unusable.
    Lines without a key ``split`` are cut by patient.

    Args:
        index_file: the JSONL file inside ``root``.
        images_root: folder below which the images lie, where it is not ``root``, such as a copy of MIMIC-CXR-JPG.
        unlisted: what a label that a line does not list means: ``absent`` (0), or ``unknown`` (NaN; beside No Finding
            diseases are absent all the same). A line without ``labels`` leaves all of them unknown.
        patients: whose ids the key ``patient`` has: ``mimic``, or ``own`` for trajectories on images of another set.
            These may be any texts, and are known to be no patients of MIMIC-CXR's sets.
    """

    index_file: str = "cxr_max.jsonl"
    images_root: str | None = None
    unlisted: str = "absent"
    patients: str = "mimic"

    elsewhere: ClassVar[dict[str, str]] = {"file": "It is index_file now"}
    vocabulary: ClassVar[tuple[str, ...]] = CHEXPERT
    credentialed: ClassVar[bool] = True
    patients_of: ClassVar[str] = "mimic"
    citation: ClassVar[str] = (
        "X. Yang, J. Lu, E. Yu. Learning from All: Concept Alignment for Autonomous Distillation from Multiple "
        "Drifting MLLMs. arXiv:2510.04142, 2025 (CXR-MAX, CC BY-NC-SA 4.0). Images and reports: A. E. W. Johnson, "
        "T. J. Pollard, S. J. Berkowitz et al. MIMIC-CXR, a de-identified publicly available database of chest "
        "radiographs with free-text reports. Scientific Data 6:317, 2019 (PhysioNet Credentialed Health Data License)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, allowed in (("unlisted", UNMENTIONED), ("patients", tuple(PATIENTS))):
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key} must be one of {', '.join(allowed)}, got '{getattr(self, key)}'")
        if self.patients == "own":
            self.patients_of = ""

    def read_index(self) -> list[Study]:
        """Studies in the order of the file, one a line.

        Raises:
            DataError: there is no such file or image folder, or only some of the lines have a split.
        """
        path, base = self._file(), self._base()
        rows: dict[str, _Row] = {}
        texts, empty = Counter[str](), Counter[str]()
        for number, line in records.lines(path):
            where = f"{path.name}:{number}"
            try:
                content = records.parse(line)
                row = _row(content, where, base, self.patients)
                if row.id in rows:
                    raise ValueError(f"id '{row.id}' is listed before ({rows[row.id].where})")
            except ValueError as error:
                self.faults.append((where, str(error)))
                continue
            rows[row.id] = row
            texts.update(list(content["trajectories"]))
            empty.update(name for name, text in content["trajectories"].items() if not text.strip())
        kept = self._told_apart(list(rows.values()))
        if not kept and not self.faults:
            raise DataError(f"{path}: has no line. Make it again by 'apo data import'.")
        self._say_what_was_found(path, kept, texts, empty)
        self._check_splits(path, kept)
        findings = _findings([row.labels for row in kept], self.unlisted)
        return [Study(r.id, r.patient, r.split, r.paths, findings[r.labels], report=r.report) for r in kept]

    def _told_apart(self, rows: list[_Row]) -> list[_Row]:
        """Without lines whose patient may be that of others."""
        other = may_be_one((row.patient for row in rows), "p")
        self.faults += [
            (row.where, UNSURE.format(name="patient", text=row.patient, other=other[row.patient]))
            for row in rows
            if row.patient in other
        ]
        return [row for row in rows if row.patient not in other]

    def _file(self) -> Path:
        path = self.folder / self.index_file
        if not path.is_file():
            others = sorted(p.name for p in self.folder.glob("*.jsonl"))
            there = f"The folder has {', '.join(others)}: set data.index_file."
            hint = there if others else "Make it by 'apo data import'."
            raise (DataError if others else AbsentError)(f"data.index_file: {path} is not there. {hint}")
        return path

    def _base(self) -> str:
        """The folder below which the images lie."""
        which = "the one below which the images lie"
        folder = require_folder(self.images_root, "data.images_root", which) if self.images_root else self.folder
        folder = folder / (self.images_dir or "")
        if not folder.is_dir():
            raise DataError(f"data.images_dir: {folder} is no folder. Give {which}.")
        return os.path.normpath(folder)

    def _say_what_was_found(self, path: Path, rows: list[_Row], texts: Counter[str], empty: Counter[str]) -> None:
        patients = len({row.patient for row in rows})
        bare = sum(row.labels is None for row in rows)
        text = f"{len(rows):,} images of {patients:,} patients from {path.name}"
        self.say(f"{text}, {bare:,} of them without labels" if bare else text)
        counts = [f"{name} {n:,}{f' ({empty[name]:,} empty)' if empty[name] else ''}" for name, n in texts.items()]
        self.say(f"trajectories: {', '.join(counts) or 'none'}")

    def _check_splits(self, path: Path, rows: list[_Row]) -> None:
        """All lines have a split, or none: a patient that is cut here may be in another split by another line."""
        without = [row for row in rows if not row.split]
        if without and len(without) < len(rows) and not self.split_file:
            raise DataError(
                f"{path}: {len(without):,} of {len(rows):,} lines have no 'split' (first: {without[0].where}). "
                "Give every line one, or none: then they are cut by patient."
            )
        if without and not self.split_file:
            self.say(
                f"splits are cut by patient, since {path.name} has none and none was published: test "
                f"{self.test_fraction:g} of the patients, validation {self.val_fraction:g} of the others"
            )


def _row(content: dict[str, Any], where: str, base: str, patients: str) -> _Row:
    if not records.is_image(content):
        raise ValueError("is one trajectory, not one image; 'apo data import' makes lines with 'id' and 'image'")
    names = content["image"] if isinstance(content["image"], list) else [content["image"]]
    names = [name.replace("\\", "/") for name in names]
    report = content.get("report") or ""
    return _Row(
        where,
        STUDY.quoting(content["id"]),
        _patient(content.get("patient"), names, patients),
        _split(content.get("split")),
        tuple(_below(base, name) for name in names),
        _labels(content.get("labels")),
        report if report.strip() else None,
    )


def _below(base: str, name: str) -> str:
    path = os.path.normpath(os.path.join(base, name))
    if not path.startswith(base.rstrip(os.sep) + os.sep):
        raise ValueError(f"image path '{name}' leads out of {base}")
    return path


def _patient(given: str | None, images: Iterable[str], patients: str) -> str:
    """The patient's number without the ``p`` of MIMIC-CXR's folders, so that all of its sets agree.

    Raises:
        ValueError: there is none, there are several, or one is not of ``patients``.
    """
    told = _told(given, patients) if given and given.strip() else ""
    named = {found for name in images for found in MIMIC_PATIENT.findall(name)}
    if named and patients != "mimic":
        raise ValueError(f"the image path has patient {min(named)} of MIMIC-CXR, though data.patients is {patients}")
    seen = sorted(named | ({told} if told else set()))
    if not seen:
        raise ValueError("no patient: give the key 'patient', or an image path with a folder such as p10000032")
    if len(seen) > 1:
        raise ValueError(f"'patient' and the image path name different patients: {' and '.join(seen)}")
    return seen[0]


def _told(given: str, patients: str) -> str:
    try:
        return PATIENTS[patients].quoting(given)
    except ValueError as error:
        hint = "; if no image is of MIMIC-CXR, say data.patients=own" if patients == "mimic" else ""
        raise ValueError(f"key 'patient': {error}{hint}") from None


def _split(word: str | None) -> str:
    name = (word or "").strip().lower()
    if name and name not in NAMES:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got '{word}'")
    return NAMES.get(name, "")


def _labels(listed: Sequence[str] | None) -> frozenset[str] | None:
    if listed is None:
        return None
    names = frozenset(map(canonical, listed))
    for name in sorted(names - set(CHEXPERT)):
        raise ValueError(f"label '{name}' is none of the fourteen of MIMIC-CXR. {did_you_mean(name, CHEXPERT)}")
    others = sorted(names - {NO_FINDING, *NOT_A_DISEASE})
    if NO_FINDING in names and others:
        raise ValueError(f"labels have No Finding beside {', '.join(others)}")
    return names


def _findings(labels: Iterable[frozenset[str] | None], unlisted: str) -> dict[frozenset[str] | None, dict[str, float]]:
    """What every different list of labels becomes; None: all are unknown."""
    sets = [names for names in dict.fromkeys(labels) if names is not None]
    listed = np.array([[name in names for name in CHEXPERT] for names in sets], dtype=bool).reshape(-1, len(CHEXPERT))
    raw = pd.DataFrame(np.where(listed, 1.0, np.nan), columns=list(CHEXPERT))
    settled = settle(raw, uncertain="ignore", unmentioned=unlisted).to_dict("records")
    return {None: dict.fromkeys(CHEXPERT, math.nan), **dict(zip(sets, settled, strict=True))}
