"""Decoded radiographs on disk, so that the second pass over a set does not decode again. MONAI keeps the files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data_modules.transforms import READING, read_radiograph


class DiskCache:
    """``read_radiograph`` through ``monai.data.PersistentDataset``.

    An entry's name is the hash of the file's path, size and time, of ``max_side`` and of ``READING``: a changed file or
    another way of reading is read anew. Several processes may share the folder.

    Args:
        folder: made if it does not exist; nothing in it is ever removed.
        max_side: see ``read_radiograph``.
    """

    def __init__(self, folder: Path, max_side: int | None) -> None:
        self.folder, self.max_side = folder, max_side
        self._sets: dict[str, Any] = {}

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
            return read_radiograph(path, max_side=self.max_side)  # whose message names what is wrong
        name = hashlib.sha256(f"{path}|{at.st_size}|{at.st_mtime_ns}|{self.max_side}|{READING}".encode()).hexdigest()

        def decode(_: str) -> torch.Tensor:
            return torch.from_numpy(np.array(read_radiograph(path, max_side=self.max_side)))

        kept = PersistentDataset([path], Lambda(decode), self.folder, hash_func=lambda _: name.encode())
        try:
            pixels = kept[0]
        except (RuntimeError, EOFError, ValueError):  # an entry that a full disk cut off
            (self.folder / f"{name}.pt").unlink(missing_ok=True)
            pixels = kept[0]
        return Image.fromarray(pixels.numpy())
