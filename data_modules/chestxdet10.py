"""ChestX-Det10: 3,543 images of NIH ChestX-ray14 on which three radiologists marked ten findings by boxes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from apo_lightning.errors import DataError
from apo_lightning.files.bounded import read_json
from apo_lightning.files.jsonlines import short
from apo_lightning.findings import canonical
from apo_lightning.identifiers.forms import NIH_FILE, TEXT
from apo_lightning.types import Box, Study
from data_modules import DATA
from data_modules.archives.image_folders import choose_images
from data_modules.folder import FolderDataModule
from data_modules.tables import UNREADABLE, find

PARTS = ("train", "test")
LABELS = (
    "Atelectasis",
    "Calcification",
    "Consolidation",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Fracture",
    "Mass",
    "Nodule",
    "Pneumothorax",
)
NIH_NAME = re.compile(r"(\d{8})_\d{3}\.\w+")
"""Patient and number, as ChestX-ray14 names its images."""


@DATA.register("chestxdet10")
@dataclass(eq=False, kw_only=True)
class ChestXDet10(FolderDataModule):
    """ChestX-Det10: ``train.json``, ``test.json`` and the images in ``train_data`` and ``test_data`` (perhaps in a
    folder of the same name inside), or all of them in one folder ``images``.

    A finding is 1 where ``syms`` names it and 0 elsewhere; no name at all is a normal image. There is no official
    validation part: it is cut from the training part.

    There are two editions. In the one that comes with its images these are renumbered: patients are unknown, each image
    counts as its own, and neither the images of one patient that lie in both parts nor those that are in ChestX-ray14's
    training part can be removed by name. The first edition has the names of ChestX-ray14, whose images it needs (set
    ``images_dir`` to their folder). There the patients are known, and those of the test part are left out of training.

    Args:
        box_side: pixels of the square images on which the boxes were drawn, >= 1.
    """

    box_side: int = 1024

    vocabulary: ClassVar[tuple[str, ...]] = tuple(sorted(map(canonical, LABELS)))
    citation: ClassVar[str] = (
        "J. Liu, J. Lian, Y. Yu. ChestX-Det10: Chest X-ray Dataset on Detection of Thoracic Abnormalities. "
        "arXiv:2006.10550, 2020. Images from NIH ChestX-ray14 (X. Wang et al., CVPR 2017; NIH Clinical Center). "
        "Its makers state no licence for the annotations"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.box_side < 1:
            raise ValueError(f"box_side must be >= 1, got {self.box_side}")

    @property
    def patients_of(self) -> str:
        """ChestX-ray14's, in the edition that keeps its names."""
        return "nih" if any(NIH_NAME.fullmatch(Path(study.images[0]).name) for study in self.index) else ""

    def listed_in(self, study: Study) -> str:
        """Its part's annotation file."""
        return f", named in {study.id.partition('/')[0]}.json"

    def read_index(self) -> list[Study]:
        """Studies in the order of the files, one an image."""
        find(self.folder, [f"{part}.json" for part in PARTS], index=True)  # without either it is not there at all
        studies = {part: list(self._part(part)) for part in PARTS}
        tested = {study.patient for study in studies["test"]}
        kept = [study for study in studies["train"] if study.patient not in tested]
        if len(kept) < len(studies["train"]):
            self.left_out["training image of a patient of the test part"] += len(studies["train"]) - len(kept)
        paths = self._paths([study.images[0] for study in kept], [study.images[0] for study in studies["test"]])
        every = [*kept, *studies["test"]]
        return [replace(study, images=(path,)) for study, path in zip(every, paths, strict=True)]

    def _part(self, part: str) -> Iterator[Study]:
        """Studies of a part, with their file names for images; items that cannot be used go to ``faults``."""
        path = find(self.folder, (f"{part}.json",))
        items = read_items(path)
        seen: set[str] = set()
        for number, item in enumerate(items, start=1):
            try:
                study = self._study(part, item)
                if study.id in seen:
                    raise ValueError(f"file_name '{study.images[0]}' is listed before")
            except ValueError as error:
                self.faults.append((f"{path.name}: item {number}", str(error)))
                continue
            seen.add(study.id)
            yield study
        self.say(f"labels from {path.name}: {len(seen):,} of {len(items):,} images")

    def _study(self, part: str, item: Any) -> Study:
        """
        Raises:
            ValueError: the item cannot be used, with the reason.
        """
        if not isinstance(item, dict) or not {"file_name", "syms", "boxes"} <= item.keys():
            raise ValueError("is not an object with file_name, syms and boxes")
        name, syms, boxes = item["file_name"], item["syms"], item["boxes"]
        name = _file_name(name)
        if re.search(r"[/\\]", name):
            raise ValueError(f"image path '{name}' leads out of the image folder")
        if not isinstance(syms, list) or not isinstance(boxes, list) or len(syms) != len(boxes):
            raise ValueError("syms and boxes are not two lists of one length")
        unknown = [sym for sym in syms if sym not in LABELS]
        if unknown:
            raise ValueError(f"syms names '{unknown[0]}'; known are {', '.join(LABELS)}")
        names = [canonical(sym) for sym in syms]
        marked = tuple(self._box(*pair) for pair in zip(names, boxes, strict=True))
        id_ = f"{part}/{Path(name).stem}"
        nih = NIH_NAME.fullmatch(name)
        patient = str(int(nih[1])) if nih else id_
        return Study(id_, patient, part, (name,), {f: float(f in names) for f in self.vocabulary}, boxes=marked)

    def _box(self, finding: str, corners: Any) -> Box:
        """
        Raises:
            ValueError: not four numbers, empty, or not inside the image.
        """
        if not isinstance(corners, list) or [type(c) in (int, float) for c in corners] != [True] * 4:
            raise ValueError(f"box {corners} is not four numbers")
        left, top, right, bottom = corners
        if not (0 <= left < right <= self.box_side and 0 <= top < bottom <= self.box_side):
            raise ValueError(f"box {corners} is empty or not inside {self.box_side} x {self.box_side} pixels")
        return Box(finding, *(value / self.box_side for value in (left, top, right - left, bottom - top)))

    def _paths(self, train: list[str], test: list[str]) -> list[str]:
        """Where the images should be.

        Raises:
            DataError: both parts have a file of one name, which must then be in folders of their own.
        """
        base = self.folder / (self.images_dir or "")
        folders = {part: _part_folder(base, part) for part in PARTS}
        if any(folders.values()):
            for part, folder in folders.items():
                folders[part] = folder or str(base / f"{part}_data")
                self.say(f"images of {part}.json from {folders[part]}")
            return [
                os.path.join(folders[part], name)
                for part, names in zip(PARTS, (train, test), strict=True)
                for name in names
            ]
        twice = sorted(set(train) & set(test))
        if twice:
            raise DataError(
                f"{len(twice)} file names are in both parts, first {twice[0]}, which one image folder cannot hold. Put "
                "the images into train_data and test_data in data.root."
            )
        found = choose_images(self, [*train, *test])
        return [found[name] for name in (*train, *test)]


def _file_name(value: Any) -> str:
    """
    Raises:
        ValueError: it is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value}"
    if not isinstance(value, str) or not value.strip():
        raise ValueError("file_name is empty")
    name = NIH_FILE(TEXT(value))
    return name if Path(name).suffix else f"{name}.png"


def read_items(path: Path) -> list[Any]:
    """The items of an annotation file.

    Raises:
        DataError: the file cannot be read, or is no JSON list, or an empty one.
    """
    try:
        items = read_json(path)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}). Fetch the file again.") from error
    if not isinstance(items, list):
        raise DataError(f"{path}: is not a list of images but {short(items)}. Use the set's own {path.name}.")
    if not items:
        raise DataError(f"{path}: is a list without any image. Fetch the file again.")
    return items


def _part_folder(root: Path, part: str) -> str | None:
    """Folder of one part's images, the inner one where it is nested."""
    tried = (root / f"{part}_data" / f"{part}_data", root / f"{part}_data")
    return next((str(folder) for folder in tried if folder.is_dir()), None)
