"""Decoded radiographs on disk, so that the second pass over a set does not decode again. MONAI keeps the files."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from apo_lightning.errors import DataError
from data_modules.images.transforms import READING, read_radiograph

log = logging.getLogger(__name__)


class DiskCache:
    """``read_radiograph`` through ``monai.data.PersistentDataset``.

    An entry's name is the hash of the file's path, size and time, of the settings and of ``READING``: a changed file or
    another way of reading is read anew. Several processes may share the folder.

    Args:
        folder: made if it does not exist; only damaged entries are ever removed from it.
        max_side: see ``read_radiograph``.
        how: its other settings. They are part of an entry's name, so that what they refuse is not found here.

    Raises:
        DataError: the folder cannot be made or written into.
    """

    def __init__(self, folder: Path, max_side: int | None, **how: Any) -> None:
        self.folder, self.how = folder, {"max_side": max_side, **how}
        self._told = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"data.cache_dir: {folder} cannot be used ({error.strerror}). Name a folder.") from error
        if not os.access(folder, os.W_OK):
            raise DataError(f"data.cache_dir: {folder} cannot be written into. Change its permissions or the setting.")

    def __call__(self, path: str) -> Image.Image:
        """
        Raises:
            DataError: the file cannot be read; nothing is kept then.
        """
        from monai.data import PersistentDataset
        from monai.transforms import Lambda

        try:
            at = os.stat(path)
        except OSError:
            return read_radiograph(path, **self.how)  # whose message names what is wrong
        about = f"{path}|{at.st_size}|{at.st_mtime_ns}|{sorted(self.how.items())}|{READING}"
        name = hashlib.sha256(about.encode()).hexdigest()

        def decode(_: str) -> torch.Tensor:
            return torch.from_numpy(np.array(read_radiograph(path, **self.how)))

        kept = PersistentDataset(
            [path], Lambda(decode), self.folder, hash_func=lambda _: name.encode(), weights_only=True
        )
        try:
            return Image.fromarray(kept[0].numpy())
        except Exception as error:  # unpickling raises nearly anything on a damaged entry
            return self._without(path, self.folder / f"{name}.pt", error)

    def _without(self, path: str, entry: Path, error: Exception) -> Image.Image:
        """The image past the cache: an entry was cut off, the disk is full, or the image itself cannot be read, which
        MONAI hides in a RuntimeError of its own and which is raised here as what it is."""
        entry.unlink(missing_ok=True)
        image = read_radiograph(path, **self.how)
        if not self._told:
            log.warning("%s: an entry could not be read or kept (%s). Such images are decoded anew.", entry, error)
            self._told = True
        return image
