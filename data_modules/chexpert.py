"""CheXpert: 224,316 radiographs of 65,240 patients, labels mined from reports; validation and test by radiologists."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from apo_lightning.errors import AbsentError, DataError
from apo_lightning.findings import CHEXPERT, canonical
from apo_lightning.identifiers.forms import CHEXPERT_PATH
from apo_lightning.types import Study
from data_modules import DATA
from data_modules.folder import FolderDataModule
from data_modules.tables import find, look_for, numbers, read_table
from data_modules.tables.identifiers import normal
from data_modules.tables.labels import as_findings, check_policies, settle

TRAIN, VALID = "train.csv", "valid.csv"
BY_STUDY, BY_IMAGE = "groundtruth.csv", "test_labels.csv"
"""Labels of the test set as they are published: one row per study, or one per image."""
LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
COLUMNS = {"Frontal/Lateral": "side", "AP/PA": "view", **{label: canonical(label) for label in LABELS}}
SPLIT_FOLDERS = ("train", "valid", "test")
VIEWS = ("frontal", "lateral")
SIDES = ("Frontal", "Lateral", "")
PROJECTIONS = ("AP", "PA", "LL", "RL", "")
ORDER = {"PA": 0, "AP": 1, "LATERAL": 3}
"""Which image of a study comes first; other frontal ones, and those without a projection, stand at 2."""
PLACE = r"(?P<top>[^/]+)/(?P<patient>patient[^/]+)/(?P<number>study[^/]+)/(?P<file>[^/]+)"
"""How ``Path`` ends: split folder, patient, study, file. What is before it is the name of an archive."""


@DATA.register("chexpert")
@dataclass(eq=False, kw_only=True)
class CheXpert(FolderDataModule):
    """CheXpert in full or small size: the archive's folder, the folder above it, or the four parts in which the full
    size is handed out (``CheXpert-v1.0 batch 2 (train 1)`` and so on) side by side in one folder.

    With the 500 studies of the test set beside it (folder ``test``, labels in ``groundtruth.csv`` or
    ``test_labels.csv``; all of it in the archive, above it, or in a folder ``CheXpert`` there) these are tested on and
    ``valid.csv`` validates. Without them ``valid.csv`` is tested on, and validation is cut from the training patients.

    Age and sex are not read. ``findings.COMPETITION`` names the five findings on which the set is scored.

    Args:
        index_file: table of the training images; later labels of the same images have the same columns.
        views: ``frontal``, ``lateral`` or both; studies without such an image are left out.
        max_images: images of a study that are used, >= 1: PA, AP, other frontal ones, lateral, in this order.
        uncertain: what an uncertain label becomes, ``ignore``, ``zeros``, ``ones`` or ``mixed``; see ``labels.py``.
        unmentioned: what an empty label becomes, ``absent`` or ``unknown``.
    """

    index_file: str = TRAIN
    views: list[str] = field(default_factory=lambda: ["frontal"])
    max_images: int = 1
    uncertain: str = "ignore"
    unmentioned: str = "absent"

    elsewhere: ClassVar[dict[str, str]] = {"labels_file": "It is index_file now"}
    vocabulary: ClassVar[tuple[str, ...]] = CHEXPERT
    credentialed: ClassVar[bool] = True
    patients_of: ClassVar[str] = "chexpert"
    citation: ClassVar[str] = (
        "J. Irvin, P. Rajpurkar, M. Ko, Y. Yu, et al. CheXpert: A Large Chest Radiograph Dataset with Uncertainty "
        "Labels and Expert Comparison. AAAI 2019. arXiv:1901.07031. Stanford University research use agreement"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.views or not set(self.views) <= set(VIEWS):
            raise ValueError(f"views must be one or both of {', '.join(VIEWS)}, got {list(self.views)}")
        if self.max_images < 1:
            raise ValueError(f"max_images must be >= 1, got {self.max_images}")
        check_policies(self.uncertain, self.unmentioned)

    def read_index(self) -> list[Study]:
        """Studies of the training, validation and test table in their order."""
        archive = self._archive()
        bases = self._bases(archive)
        train = look_for(self.folder, (self.index_file,)) or find(archive, (self.index_file,))
        valid, test = find(archive, (VALID,)), self._test_table(archive, bases)
        rows = [self._rows(train, "train"), self._rows(valid, "val" if test else "test")]
        if test is None:
            self.say(f"no test set: {VALID} is tested on, and validation is cut from the training patients")
        elif test.name.startswith(BY_STUDY):
            rows.append(_listed(self._rows(test, "test", column="Study"), bases["test"]))
        else:
            rows.append(self._rows(test, "test"))
        images = self._chosen(self._consistent(pd.concat(rows, ignore_index=True)))
        return self._studies_of(images, self._paths(images, bases))

    def _archive(self) -> Path:
        """The folder with the tables: ``root`` or one in it.

        Raises:
            DataError: there is none, or there are several.
        """
        inner = sorted(path for path in self.folder.iterdir() if path.is_dir())
        held = [folder for folder in (self.folder, *inner) if look_for(folder, (TRAIN, VALID))]
        if not held:
            raise AbsentError(
                f"{self.folder} has no {TRAIN} or {VALID}, nor has a folder in it. Set data.root to the unpacked "
                "archive (CheXpert-v1.0 or CheXpert-v1.0-small) or to the folder above it."
            )
        if held[0] != self.folder and len(held) > 1:
            names = ", ".join(folder.name for folder in held)
            raise DataError(f"{self.folder} has {len(held)} archives: {names}. Set data.root to the one that is meant.")
        self.say(f"archive: {held[0]}")
        return held[0]

    def _bases(self, archive: Path) -> dict[str, Path]:
        """Split folder as ``Path`` names it, to the folder that it lies in."""
        if self.images_dir is not None:
            return dict.fromkeys(SPLIT_FOLDERS, self.folder / self.images_dir)
        places = (archive, archive / "CheXpert", self.folder, self.folder / "CheXpert")
        tested = next((place for place in places if (place / "test").is_dir()), archive)
        return {**dict.fromkeys(SPLIT_FOLDERS, archive), "test": tested}

    def _test_table(self, archive: Path, bases: Mapping[str, Path]) -> Path | None:
        """Labels of the test set; None where they are nowhere."""
        above = [archive, archive / "CheXpert", self.folder, self.folder / "CheXpert", bases["test"]]
        places = [place for folder in above for place in (folder, folder / "test")]
        found = next(filter(None, (look_for(place, (BY_STUDY, BY_IMAGE)) for place in places)), None)
        if found is None and (bases["test"] / "test").is_dir():
            self.say(f"{bases['test'] / 'test'} is not used: neither {BY_STUDY} nor {BY_IMAGE} is beside it or in it")
        return found

    def _rows(self, table: Path, split: str, column: str = "Path") -> pd.DataFrame:
        """One row per image, or a study where the table names these: split, study, patient, top (the split folder),
        file, raw labels, and the columns ``side`` and ``view`` where the table has them."""
        rows = read_table(
            table, {column: "path", **COLUMNS}, self.faults, optional=("Frontal/Lateral", "AP/PA"), ids=("path",)
        )
        rows = normal(rows, {"path": CHEXPERT_PATH}, self.faults, unique=("path",))
        rows = numbers(rows, CHEXPERT, (0, 1, -1) if split == "train" else (0, 1), self.faults)
        for name, allowed in (("side", SIDES), ("view", PROJECTIONS)):
            if name in rows:
                must = f"must be one of {', '.join(allowed[:-1])} or empty"
                rows = self.faults.drop(rows, ~rows[name].isin(allowed), must, name)
        pattern = PLACE if column == "Path" else PLACE.removesuffix("/(?P<file>[^/]+)")
        place = rows["path"].str.replace("\\", "/").str.extract(rf"(?:^|/){pattern}$")
        out = place.eq("..").any(axis="columns")
        rows = self.faults.drop(rows, out, "image path leads out of data.root", "path")
        odd = place["patient"].isna()[rows.index]
        rows = self.faults.drop(rows, odd, f"{column} does not end in split, patient, study and file", "path")
        self.say(f"labels of split '{split}' from {table.name}: {len(rows):,} rows")
        rows = rows.join(place)
        return rows.assign(split=split, study=rows["patient"] + "/" + rows["number"])

    def _consistent(self, rows: pd.DataFrame) -> pd.DataFrame:
        """With numbers of studies (``place``) and of combinations of labels (``labels``), and without studies whose
        images have different ones."""
        codes = (rows[list(CHEXPERT)].fillna(2).to_numpy() + 1).astype(int) @ 4 ** np.arange(len(CHEXPERT))
        rows = rows.assign(labels=codes, place=(rows["split"] + "/" + rows["study"]).factorize()[0])
        pairs = rows[["place", "labels"]].drop_duplicates()
        wrong = rows["place"].isin(pairs["place"][pairs["place"].duplicated()])
        first = wrong & ~rows["place"].duplicated()
        self.faults.drop(rows, first, "images of one study have different labels", "study")
        return rows[~wrong]

    def _chosen(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The images of each study that are used, in order, with their ``view``."""
        side, view = (rows.get(name, pd.Series("", index=rows.index)).fillna("") for name in ("side", "view"))
        said = side.where(side != "", rows["file"])
        lateral = said.str.contains("lateral", case=False)
        view = view.str.upper().mask(lateral, "LATERAL")
        rows = rows.assign(view=view, rank=view.map(ORDER).fillna(2))
        kept = rows[lateral.map({False: "frontal", True: "lateral"}).isin(list(self.views))]
        lost = rows["place"].nunique() - kept["place"].nunique()
        if lost:
            self.left_out[f"no {' or '.join(self.views)} image"] += lost
        kept = kept.sort_values(["place", "rank"], kind="stable")
        return kept[kept.groupby("place").cumcount() < self.max_images]

    def _paths(self, rows: pd.DataFrame, bases: Mapping[str, Path]) -> pd.Series:
        """Where the images should be."""
        rest = rows["patient"] + "/" + rows["number"] + "/" + rows["file"]
        base = rows["top"].map({top: str(folder) for top, folder in bases.items()}).fillna(str(bases["train"]))
        paths = base + "/" + rows["top"] + "/" + rest
        parts = {} if self.images_dir or (bases["train"] / "train").is_dir() else _parts(self.folder)
        if not parts:
            return paths
        names = ", ".join(sorted({Path(part).name for part in parts.values()}))
        self.say(f"training images from {names}")
        part = rows["patient"].map(parts)
        return paths.mask(part.notna(), part + "/" + rest)

    def _studies_of(self, rows: pd.DataFrame, paths: pd.Series) -> list[Study]:
        raw = rows.drop_duplicates("labels").set_index("labels")[list(CHEXPERT)]
        findings = as_findings(settle(raw, uncertain=self.uncertain, unmentioned=self.unmentioned))
        images: dict[int, list[tuple[str, str]]] = {}
        for place, path, view in zip(rows["place"], paths, rows["view"], strict=True):
            images.setdefault(place, []).append((path, view))
        columns = (rows.drop_duplicates("place")[name] for name in ("study", "patient", "split", "labels", "place"))
        return [
            Study(
                study,
                patient,
                split,
                tuple(path for path, _ in images[place]),
                findings[labels],
                views=tuple(view for _, view in images[place]),
            )
            for study, patient, split, labels, place in zip(*columns, strict=True)
        ]


def _listed(rows: pd.DataFrame, base: Path) -> pd.DataFrame:
    """One row an image of each study, as its folder has them; the first frontal one where there is no such folder, so
    that it is missed later."""
    folders = rows["top"] + "/" + rows["study"]
    return rows.assign(file=[_views(base / folder) or ["view1_frontal.jpg"] for folder in folders]).explode("file")


def _views(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("view*")) if folder.is_dir() else []


def _parts(root: Path) -> dict[str, str]:
    """Patient to the part of the training set that has its folder."""
    parts = sorted(part for part in root.glob("*(train [0-9]*)") if part.is_dir())
    return {patient: str(part) for part in parts for patient in os.listdir(part) if patient.startswith("patient")}
