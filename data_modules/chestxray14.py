"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, labels mined from reports, free to use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.types import Study
from data_modules import DATA
from data_modules.base import CXRDataModule, share_of_patients

log = logging.getLogger(__name__)

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = ("train_val_list.txt", "test_list.txt")
COLUMNS = {"Image Index": "image", "Finding Labels": "labels", "Patient ID": "patient"}
NORMAL = "No Finding"
LABELS = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "edema",
    "Effusion": "pleural_effusion",
    "Emphysema": "emphysema",
    "Fibrosis": "fibrosis",
    "Hernia": "hernia",
    "Infiltration": "infiltration",
    "Mass": "mass",
    "Nodule": "nodule",
    "Pleural_Thickening": "pleural_thickening",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
}


@DATA.register("chestxray14")
@dataclass(eq=False, kw_only=True)
class ChestXray14(CXRDataModule):
    """The official layout, Kaggle's (``images_001/images/...``), or a folder that holds a part of the images.

    The seven canonical findings are labels, 1 where the table names them and 0 elsewhere; the other seven of the table
    are ignored. There is no official validation list: it is cut from ``train_val_list.txt`` by patient, before images
    are looked for, so that a part of the set has a part of the same validation patients.

    Args:
        root: folder of the table and the two lists (each may be gzipped).
        labels_file: table inside ``root``; None finds the 2020 or the 2017 edition.
        images_dir: image folder inside ``root``; None takes the one that has images for most rows.
        val_fraction: share of the train_val patients that validate, in (0, 1).
        allow_missing: leave out rows without an image file, counted in ``missing``; otherwise they are an error.
    """

    root: str
    labels_file: str | None = None
    images_dir: str | None = None
    val_fraction: float = 0.15
    allow_missing: bool = False

    citation: ClassVar[str] = (
        "X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers. ChestX-ray8: Hospital-scale Chest X-ray Database "
        "and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. CVPR 2017. "
        "Data provided by the NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction must be in (0, 1), got {self.val_fraction}")

    @property
    def missing(self) -> int:
        """Rows of the table that have no image file."""
        return int(self._rows["path"].isna().sum())

    def read_studies(self, split: str) -> list[Study]:
        """Rows of one split in table order.

        Raises:
            DataError: a file or column is missing, a row is malformed, or images are missing without ``allow_missing``.
        """
        rows = self._rows[(self._rows["split"] == split) & self._rows["path"].notna()]
        columns = (rows["image"].tolist(), rows["patient"].tolist(), rows["path"].tolist(), rows["labels"].tolist())
        findings = {cell: self._findings(cell) for cell in set(columns[3])}
        return [
            Study(Path(image).stem, patient, split, (path,), findings[cell])
            for image, patient, path, cell in zip(*columns, strict=True)
        ]

    def _findings(self, cell: str) -> dict[str, float]:
        named = {LABELS[label] for label in cell.split("|") if label != NORMAL}
        return {name: float(name in named) for name in self.findings}

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """Columns image, labels, patient, split and path (missing where there is no file)."""
        folder = Path(self.root).expanduser()
        if not folder.is_dir():
            raise DataError(f"data.root: {folder} is no folder. Give the folder that holds {TABLES[0]}.")
        table = folder / self.labels_file if self.labels_file else _find(folder, TABLES)
        rows = read_table(table)
        rows["split"] = self._splits(folder, rows, table)
        rows["path"] = rows["image"].map(choose_images(folder, rows["image"], self.images_dir))
        self._say_missing(rows, table)
        return rows

    def _splits(self, folder: Path, rows: pd.DataFrame, table: Path) -> pd.Series:
        train_val, test = (rows["image"].isin(read_list(_find(folder, (name,)))) for name in LISTS)
        for wrong, what in ((train_val & test, "in both"), (~train_val & ~test, "in neither of")):
            if wrong.any():
                raise DataError(
                    f"{table}: {wrong.sum():,} rows are {what} {' and '.join(LISTS)}, "
                    f"first {rows['image'][wrong].iloc[0]}. Use the table and the lists of one download."
                )
        split = pd.Series("train", index=rows.index).mask(test, "test")
        val = share_of_patients(rows["patient"][train_val], self.val_fraction, self.seed)
        return split.mask(train_val & rows["patient"].isin(val), "val")

    def _say_missing(self, rows: pd.DataFrame, table: Path) -> None:
        gone = rows["path"].isna()
        if not gone.any():
            return
        text = f"{gone.sum():,} of {len(rows):,} rows of {table} have no image, first {rows['image'][gone].iloc[0]}."
        if not self.allow_missing:
            raise DataError(f"{text} Complete the images, or set data.allow_missing=true to do without them.")
        log.info("%s They are left out.", text)


def read_table(path: Path) -> pd.DataFrame:
    """Columns image, labels, patient of a label table, as text, validated.

    The official header has unquoted commas, so two of its names read as two columns each; only named ones are used.

    Raises:
        DataError: unreadable, a column is missing, or a row is empty, repeated or has an unknown label.
    """
    try:
        found = list(pd.read_csv(path, nrows=0).columns)
        lacking = [name for name in COLUMNS if name not in found]
        if lacking:
            raise DataError(
                f"{path} has no column '{lacking[0]}'. Found: {', '.join(found)}. Needed: {', '.join(COLUMNS)}."
            )
        rows = pd.read_csv(path, usecols=list(COLUMNS), dtype=str, index_col=False, keep_default_na=False)
    except (OSError, EOFError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{path}: cannot be read as a CSV table ({error}). Fetch the file again.") from error
    rows = rows.rename(columns=COLUMNS)
    for name, column in COLUMNS.items():
        _refuse_rows(rows, rows[column].str.strip() == "", f"{path}: column '{name}' is empty", column)
    _refuse_rows(rows, rows["image"].duplicated(), f"{path}: image is listed twice", "image")
    bad_cells = [cell for cell in rows["labels"].unique() if not _labels_known(cell)]
    known = f"Known: {', '.join(LABELS)} joined by '|', or '{NORMAL}' alone"
    _refuse_rows(rows, rows["labels"].isin(bad_cells), f"{path}: unknown finding labels. {known}", "labels")
    return rows


def _labels_known(cell: str) -> bool:
    return cell == NORMAL or all(label in LABELS for label in cell.split("|"))


def _refuse_rows(rows: pd.DataFrame, wrong: pd.Series, what: str, column: str) -> None:
    if wrong.any():
        first = int(wrong.to_numpy().argmax())
        raise DataError(f"{what}: {wrong.sum()} rows, first line {first + 2} with '{rows[column].iloc[first]}'.")


def read_list(path: Path) -> set[str]:
    """Image names of a split list, one a line."""
    try:
        return set(pd.read_csv(path, header=None, names=["image"], dtype=str)["image"].str.strip())
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a list of image names ({error}). Fetch the file again.") from error


def choose_images(root: Path, wanted: Iterable[str], images_dir: str | None) -> dict[str, str]:
    """Image name to path, from the folder that has most of the wanted names; the first of equals.

    Raises:
        DataError: no folder has any of them; the message lists what was looked at.
    """
    names, folders = set(wanted), _image_folders(root, images_dir)
    label = max(folders, key=lambda label: len(names & folders[label].keys()), default="")
    covered = len(names & folders[label].keys()) if label else 0
    if not covered:
        looked = ", ".join(folders) or f"{root}/{images_dir or 'images*'}"
        raise DataError(f"No image of the table was found in {looked}. Set data.images_dir to the image folder.")
    log.info("Images are read from %s: %d of %d rows.", label, covered, len(names))
    return folders[label]


def _image_folders(root: Path, images_dir: str | None) -> dict[str, dict[str, str]]:
    """Candidate folder to its files by name; the parts of Kaggle's layout count as one folder."""
    if images_dir is not None:
        plain, parts = [root / images_dir], []
    else:
        plain, parts = sorted(root.glob("images*")), sorted(root.glob("images_*/images"))
    found = {str(folder): _files(folder) for folder in plain if folder.is_dir()}
    merged = {name: path for folder in parts if folder.is_dir() for name, path in _files(folder).items()}
    return {**found, **({f"{root}/images_*/images": merged} if merged else {})}


def _files(folder: Path) -> dict[str, str]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.path for entry in entries if not entry.name.startswith(".")}


def _find(folder: Path, names: tuple[str, ...]) -> Path:
    """The first of the names in the folder, plain or gzipped."""
    tried = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
    for path in tried:
        if path.is_file():
            return path
    raise DataError(
        f"{folder} has none of {', '.join(path.name for path in tried)}. Fetch it where the images come from."
    )
