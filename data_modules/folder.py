"""A data set that lies in a folder: what is common to all archives on disk."""

from __future__ import annotations

import gc
import glob
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from apo_lightning.errors import AbsentError, DataError
from apo_lightning.files.limits import MAX_PIXELS, PILLOW_PIXELS
from apo_lightning.types import Study
from data_modules.base import CXRDataModule
from data_modules.images.cache import DiskCache
from data_modules.images.transforms import read_radiograph
from data_modules.loading.checks import crowded, faults_first
from data_modules.loading.splits import apply_split_file, cut, read_split_file


@dataclass(eq=False, kw_only=True)
class FolderDataModule(CXRDataModule):
    """A subclass gives ``read_index``. Splits, missing files and the cache of decoded images are here.

    Args:
        root: folder of the archive.
        images_dir: image folder inside ``root``; None finds it.
        allow_missing: leave out images that are not there, counted in ``missing``; otherwise they are an error.
        val_fraction: share of the training patients that validate, where the set has no validation part, in (0, 1).
        test_fraction: share of the patients that are tested on, where the set has no test part, in (0, 1).
        split_file: table ``study,split`` that says which studies are used and where, in place of the set's own splits
            and of ``data_fraction``; a run writes its own as ``splits.csv``.
        max_side: images are shrunk to at most this many pixels on the long side when they are read; None keeps them.
        cache_dir: folder where decoded images are kept between runs; None keeps none.
        max_pixels: images whose header claims more (DICOM: samples) are refused; it bounds the memory that a file can
            ask for, some 10 bytes a pixel.
        body_parts: what BodyPartExamined of a DICOM file may say beside the chest, as ``RIBCAGE``, in any case.
        view_positions: what ViewPosition of a DICOM file may say beside words of projection.
    """

    root: str
    images_dir: str | None = None
    allow_missing: bool = False
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    split_file: str | None = None
    max_side: int | None = None
    cache_dir: str | None = None
    max_pixels: int = MAX_PIXELS
    body_parts: list[str] = field(default_factory=list)
    view_positions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("val_fraction", "test_fraction"):
            if not 0 < getattr(self, key) < 1:
                raise ValueError(f"{key} must be in (0, 1), got {getattr(self, key)}")
        if self.max_side is not None and self.max_side < 1:
            raise ValueError(f"max_side must be >= 1, got {self.max_side}")
        if not 1 <= self.max_pixels <= PILLOW_PIXELS:
            raise ValueError(f"max_pixels must be in [1, {PILLOW_PIXELS:,}], got {self.max_pixels}")
        self.listed = self.split_file is not None
        self.missing: Counter[str] = Counter()
        """Image files that are not there, by split."""

    def read_index(self) -> list[Study]:
        """Every study of the set in a fixed order, with its official split, or "" where the set has none.

        Called once. Images are paths below ``folder`` that need not exist. Rows that cannot be used go to ``faults``,
        what settings exclude is counted in ``left_out``, what was found where is said by ``say``.

        Raises:
            DataError: a table is missing or lacks a column.
        """
        raise NotImplementedError

    @cached_property
    def folder(self) -> Path:
        """``root`` as a folder.

        Raises:
            AbsentError: nothing is there.
            DataError: something else is, as a file or a link that leads nowhere.
        """
        return require_folder(self.root, "data.root", "the folder into which the archive was unpacked")

    @cached_property
    def index(self) -> list[Study]:
        """``read_index`` with every study in a split."""
        with _collector_paused(), faults_first(self.faults):
            return self._split(self.read_index())

    def _split(self, studies: list[Study]) -> list[Study]:
        if self.split_file:
            path = Path(self.split_file).expanduser()
            kept = apply_split_file(studies, read_split_file(path, self.faults), path)
            if len(kept) < len(studies):
                self.left_out[f"not in {path.name}"] = len(studies) - len(kept)
            return kept
        if crowded(who := Counter(study.patient for study in studies)):
            (name, count), *_ = who.most_common(1)
            self.say(
                f"{count:,} of {len(studies):,} studies carry the patient id '{name}', and no split parts them: "
                "is it a placeholder?"
            )
        return cut(
            studies, val=self.val_fraction, test=self.test_fraction if "test" in self.splits else 0.0, seed=self.seed
        )

    def say(self, text: str) -> None:
        """Note what was found where, for the line that a run prints."""
        self.notes[text] = None

    def inside(self, reference: str, base: Path | None = None) -> str | None:
        """The path of an image that a table names, below ``base`` (``folder`` by default); None if it leads out of
        that, which a table must not. Symbolic links inside the folder are the user's own and are followed."""
        root = os.path.normpath(base or self.folder)
        path = os.path.normpath(os.path.join(root, reference.replace("\\", "/")))
        inside = os.path.abspath(path).startswith(os.path.join(os.path.abspath(root), ""))
        return path if inside and "\0" not in path else None

    def read_studies(self, split: str) -> list[Study]:
        return [study for study in self.index if study.split == split]

    def complete(self, studies: list[Study]) -> list[Study]:
        """Without images that are not there.

        Raises:
            DataError: there are such images and ``allow_missing`` is off.
        """
        there = _Listing()
        kept, gone = [], []
        for study in studies:
            if study.prior and not all(map(there, study.prior.images)):
                gone += [path for path in study.prior.images if not there(path)]
                study = replace(study, prior=replace(study.prior, images=tuple(filter(there, study.prior.images))))
            absent = [path for path in study.images if not there(path)]
            gone += absent
            if not absent:
                kept.append(study)
            elif len(absent) < len(study.images):
                kept.append(without(study, set(absent)))
        if gone and studies:
            self._say_missing(studies, gone)
        return kept

    def listed_in(self, study: Study) -> str:
        """Where a study is listed, for messages; empty where a set has one table."""
        return ""

    def _say_missing(self, studies: list[Study], gone: list[str]) -> None:
        total, split = sum(len(study.images) for study in studies), studies[0].split
        listed = next((self.listed_in(study) for study in studies if gone[0] in study.images), "")
        text = f"{len(gone):,} of {total:,} images of split '{split}' are not there, first {gone[0]}{listed}."
        text += self._seen(gone[0])
        if not self.allow_missing:
            raise DataError(f"{text} Complete the images, or set data.allow_missing=true to do without them.")
        self.missing[split] = len(gone)
        self.say(f"{text} They are left out.")

    def _seen(self, path: str) -> str:
        """Where a file of that name lies just below the set's folder."""
        if self.images_dir is not None:
            return ""
        found = next(self.folder.glob(f"*/{glob.escape(Path(path).name)}"), None)
        return f" One of that name lies in {found.parent}: set data.images_dir={found.parent.name}." if found else ""

    def open_images(self, study: Study) -> list[Image.Image]:
        paths = [*(study.prior.images if study.prior else ()), *study.images]
        return [self._disk(path) if self._disk else read_radiograph(path, **self._reading) for path in paths]

    @property
    def _reading(self) -> dict[str, Any]:
        """Arguments of ``read_radiograph``, those that are not its own."""
        how = {"body_parts": tuple(self.body_parts), "view_positions": tuple(self.view_positions)}
        if self.max_pixels != MAX_PIXELS:
            how["max_pixels"] = self.max_pixels
        return {"max_side": self.max_side, **{key: value for key, value in how.items() if value}}

    @cached_property
    def _disk(self) -> DiskCache | None:
        return DiskCache(Path(self.cache_dir).expanduser(), **self._reading) if self.cache_dir else None

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "missing_images": dict(self.missing)}


def require_folder(path: str, setting: str, which: str) -> Path:
    """The folder that a setting names.

    Raises:
        AbsentError: nothing is there.
        DataError: something else is, as a file or a link that leads nowhere.
    """
    folder = Path(path).expanduser()
    try:
        if folder.is_dir():
            return folder
        there = os.path.lexists(folder)
    except OSError as error:
        raise DataError(f"{setting}: {folder} cannot be looked at ({error.strerror}). Give {which}.") from error
    raise (DataError if there else AbsentError)(f"{setting}: {folder} is no folder. Give {which}.")


@contextmanager
def _collector_paused() -> Iterator[None]:
    """While hundreds of thousands of small objects are made and none dies, the collector would only walk them again and
    again: a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Listing:
    """Whether files are there, a folder listed once: one look-up a file is slow on network disks."""

    def __init__(self) -> None:
        self.folders: dict[str, set[str]] = {}

    def __call__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self.folders:
            try:
                self.folders[folder] = set(os.listdir(folder))
            except OSError:
                self.folders[folder] = set()
        return name in self.folders[folder]


def without(study: Study, gone: set[str]) -> Study:
    """The study without some of its images, its views and boxes in step."""
    kept = [i for i, path in enumerate(study.images) if path not in gone]
    place = {old: new for new, old in enumerate(kept)}
    return replace(
        study,
        images=tuple(study.images[i] for i in kept),
        views=tuple(study.views[i] for i in kept if study.views),
        boxes=tuple(replace(box, image=place[box.image]) for box in study.boxes if box.image in place),
    )
