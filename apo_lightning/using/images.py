"""Images that a trained student is shown, read as those were that it learned from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.settings import ExperimentSettings
from data_modules.images.transforms import is_dicom, read_radiograph, refuse_unreadable

SUFFIXES = frozenset(
    (
        ".bmp",
        ".dcm",
        ".dicom",
        ".gif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    )
)
"""Of files that are taken for images by their names; DICOM is known by its first bytes too."""
LIMITS = ("max_side", "max_pixels", "body_parts", "view_positions")
"""Settings of a data set in folders that decide how an image is read, and which ones are refused."""


def limits_of(cfg: ExperimentSettings) -> dict[str, Any]:
    """What the run's data set says of reading images, as keywords of `read_radiograph`."""
    return {name: cfg.data[name] for name in LIMITS if cfg.data.get(name) is not None}


def read(paths: Iterable[Path], limits: dict[str, Any]) -> list[Image.Image]:
    """Images of one study, PIL mode ``L``.

    Raises:
        DataError: one cannot be read or is refused; names the file.
    """
    return [read_radiograph(path, **limits) for path in paths]


def in_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Images of a folder and those below it, sorted, and the files that are none.

    Raises:
        DataError: it has no image.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    found = [path for path in files if path.suffix.lower() in SUFFIXES or _is_dicom(path)]
    if not found:
        raise DataError(f"{folder} has no image (PNG, JPEG, DICOM, ...) among its {len(files)} files.")
    return found, [path for path in files if path not in set(found)]


def _is_dicom(path: Path) -> bool:
    try:
        return not path.suffix[1:].isalpha() and is_dicom(refuse_unreadable(path))
    except DataError:
        return False
