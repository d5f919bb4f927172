"""Which of an archive's folders holds the images that its table names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from apo_lightning.errors import DataError
from data_modules.folder import FolderDataModule


def choose_images(data: FolderDataModule, wanted: Sequence[str] | pd.Series) -> dict[str, str]:
    """Image name to path, from the image folder of ``data`` that has most of the wanted names, the first of equals;
    names that are not there get the path that they should have.

    Raises:
        DataError: no folder has any of them; the message lists what was looked at.
    """
    names, folders = np.asarray(wanted, object), _image_folders(data.folder, data.images_dir)
    label = max(folders, key=lambda label: len(folders[label].keys() & set(names)), default="")
    held = _held(names, folders[label]) if label else {}
    covered = sum(name in held for name in names)
    if not covered:
        looked = ", ".join(folders) or f"{data.folder}/{data.images_dir or 'images*'}"
        raise DataError(f"No image of the table was found in {looked}. Set data.images_dir to the image folder.")
    data.say(f"images from {label}: {covered:,} of {len(names):,} are there")
    home = os.path.dirname(next(iter(folders[label].values())))
    return {name: held.get(name) or f"{home}{os.sep}{name}" for name in names}


def _held(names: Sequence[str], files: dict[str, str]) -> dict[str, str]:
    """Name to path, of those that are there; suffixes may be in another case."""
    by_case = {name.lower(): path for name, path in files.items()}
    return {name: path for name in names if (path := files.get(name) or by_case.get(name.lower()))}


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
