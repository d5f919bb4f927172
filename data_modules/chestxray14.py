"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, labels mined from reports, free to use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.files.bounded import text_lines
from apo_lightning.files.limits import MAX_TABLE_BYTES
from apo_lightning.findings import NIH, canonical
from apo_lightning.identifiers.forms import NIH_FILE, NIH_PATIENT
from apo_lightning.types import Box, Study
from data_modules import DATA
from data_modules.archives.image_folders import choose_images
from data_modules.folder import FolderDataModule
from data_modules.tables import UNREADABLE, as_numbers, find, look_for, read_table, require_index
from data_modules.tables.files import scan
from data_modules.tables.headers import clean
from data_modules.tables.identifiers import normal

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = ("train_val_list.txt", "test_list.txt")
BOXES = "BBox_List_2017.csv"
COLUMNS = {"Image Index": "image", "Finding Labels": "labels", "Patient ID": "patient", "View Position": "view"}
BOX_COLUMNS = {"Image Index": "image", "Finding Label": "label", "Bbox [x": "x", "y": "y", "w": "w", "h]": "h"}
VIEWS = ("PA", "AP", "")
NORMAL = "No Finding"
LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
BOX_SIDE = 1024
"""Pixels of the images on which the boxes were drawn."""


@DATA.register("chestxray14")
@dataclass(eq=False, kw_only=True)
class ChestXray14(FolderDataModule):
    """NIH ChestX-ray14 in the official layout, Kaggle's (``images_001/images/...``), or a folder with a part of it.

    A finding is 1 where the table names it and 0 elsewhere. There is no official validation list: it is cut from
    ``train_val_list.txt`` by patient, before images are looked for, so that a part of the set has a part of the same
    validation patients.

    Args:
        index_file: table inside ``root``; None finds the 2020 or the 2017 edition.
    """

    index_file: str | None = None

    elsewhere: ClassVar[dict[str, str]] = {"labels_file": "It is index_file now"}
    vocabulary: ClassVar[tuple[str, ...]] = NIH
    patients_of: ClassVar[str] = "nih"
    citation: ClassVar[str] = (
        "X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers. ChestX-ray8: Hospital-scale Chest X-ray Database "
        "and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases. CVPR 2017. "
        "Data provided by the NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC"
    )

    def read_index(self) -> list[Study]:
        """Studies in table order, one an image."""
        chosen = self.index_file
        table = require_index(self.folder / chosen) if chosen else find(self.folder, TABLES, index=True)
        rows = self._rows(table)
        splits = self._splits(rows, table)
        told = rows["image"].str.extract(r"^0*([0-9]+)_[0-9]{3}\.", expand=False).fillna(rows["patient"])
        rows = self.faults.drop(rows, told != rows["patient"], "Patient ID is not that of the Image Index", "patient")
        rows = rows.assign(split=splits)
        paths = choose_images(self, rows["image"])
        findings = {cell: _findings(cell) for cell in rows["labels"].unique()}
        boxes = self._boxes()
        strange = len(boxes.keys() - set(rows["image"]))
        if strange:
            self.left_out[f"box list of an image that {table.name} does not have"] += strange
        columns = [rows[name].to_numpy(object) for name in ("image", "patient", "split", "labels", "view")]
        return [
            Study(
                os.path.splitext(image)[0],
                patient,
                split,
                (paths[image],),
                findings[labels],
                views=(view,),
                boxes=boxes.get(image, ()),
            )
            for image, patient, split, labels, view in zip(*columns, strict=True)
        ]

    def _rows(self, table: Path) -> pd.DataFrame:
        rows = read_table(table, COLUMNS, self.faults, optional=("View Position",), ids=("image", "patient"))
        wrong = rows["image"].str.contains(r"[/\\]")
        rows = self.faults.drop(rows, wrong, "image path leads out of the image folder", "image")
        rows = normal(rows, {"image": NIH_FILE, "patient": NIH_PATIENT}, self.faults, unique=("image",))
        known = {cell: _labels_known(cell) for cell in rows["labels"].unique()}
        allowed = f"Finding Labels must be {', '.join(LABELS)} joined by '|', or '{NORMAL}' alone; got"
        rows = self.faults.drop(rows, ~rows["labels"].map(known).astype(bool), allowed, "labels")
        if "view" in rows:
            rows = self.faults.drop(
                rows, ~rows["view"].isin(VIEWS), f"must be {', '.join(VIEWS[:-1])} or empty", "view"
            )
        self.say(f"labels from {table.name}: {len(rows):,} images of {rows['patient'].nunique():,} patients")
        return rows if "view" in rows else rows.assign(view="")

    def _splits(self, rows: pd.DataFrame, table: Path) -> pd.Series:
        images = rows["image"].to_numpy(object)
        known = set(images)
        lists = [self._named(find(self.folder, (name,)), known) for name in LISTS]
        train_val, test = ([name in held for name in images] for held in lists)
        train_val, test = pd.Series(train_val, rows.index), pd.Series(test, rows.index)
        for wrong, what in ((train_val & test, "in both"), (~train_val & ~test, "in neither of")):
            if wrong.any():
                raise DataError(
                    f"{table}: {wrong.sum():,} rows are {what} {' and '.join(LISTS)}, "
                    f"first {rows['image'][wrong].iloc[0]} ({rows['where'][wrong].iloc[0]}). Use the "
                    "table and the lists of one download."
                )
        return pd.Series("train", index=rows.index).mask(test, "test")

    def _named(self, path: Path, known: set[str]) -> set[str]:
        """Images of a list, those that the table has not under their normal names."""
        names = read_list(path)
        found = names & known
        for name in names - known:
            try:
                found.add(NIH_FILE(name))
            except ValueError as error:
                self.faults.append((path.name, f"{error} ({name!r})"))
        return found

    def _boxes(self) -> dict[str, tuple[Box, ...]]:
        """Image name to its boxes; the file is optional and covers 880 images of the test list."""
        path = look_for(self.folder, (BOXES,))
        if path is None:
            return {}
        rows = read_table(path, BOX_COLUMNS, self.faults, ids=("image",))
        rows = normal(rows, {"image": NIH_FILE}, self.faults, unique=tuple(BOX_COLUMNS.values()))
        rows = rows.assign(finding=rows["label"].map(canonical))
        rows = self.faults.drop(rows, ~rows["finding"].isin(self.vocabulary), "unknown Finding Label", "label")
        for side in "xywh":
            wrong = ~(as_numbers(rows[side]) >= 0)  # True where it is no number
            rows = self.faults.drop(rows, wrong, "its box is not four numbers from 0 on", side)
        x, y, w, h = (as_numbers(rows[side]) / BOX_SIDE for side in "xywh")
        inside = (w > 0) & (h > 0) & (x + w <= 1) & (y + h <= 1)
        rows = rows.assign(box=rows["x"].str.cat([rows[side] for side in "ywh"], sep=", "))
        self.faults.headers[path.name]["box"] = ", ".join(list(BOX_COLUMNS)[2:])
        rows = self.faults.drop(rows, ~inside, f"its box is not inside {BOX_SIDE} x {BOX_SIDE} pixels", "box")
        boxes: dict[str, tuple[Box, ...]] = {}
        columns = (rows["image"], rows["finding"], *(side[inside] for side in (x, y, w, h)))
        for image, *box in zip(*columns, strict=True):
            boxes[image] = (*boxes.get(image, ()), Box(*box))
        self.say(f"{len(rows):,} boxes from {path.name}")
        return boxes


def _findings(cell: str) -> dict[str, float]:
    named = {canonical(label) for label in cell.split("|") if label != NORMAL}
    return {name: float(name in named) for name in ChestXray14.vocabulary}


def _labels_known(cell: str) -> bool:
    return cell == NORMAL or all(label in LABELS for label in cell.split("|"))


def read_list(path: Path) -> set[str]:
    """Image names of a split list, one a line.

    Raises:
        DataError: the file cannot be read, or is empty.
    """
    encoding = scan(path).encoding
    try:
        lines = map(clean, text_lines(path, encoding, MAX_TABLE_BYTES))
        names = {line for line in lines if line}
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as a list of image names ({error}). Fetch the file again.") from error
    if not names:
        raise DataError(f"{path}: names no image. Fetch the file again.")
    return names
