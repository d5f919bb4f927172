"""Reading a radiograph from a file into 8-bit grey.

What is decided here, because files differ and a student must not see the difference:

- EXIF orientation is applied, as every viewer does; the labels were made on the upright image.
- Deeper than 8 bits (``I;16``, ``I``, ``F``): the image's own range is stretched to 0..255. Detectors fill 10 to 14 of
  16 bits, so dividing by 257 would give a nearly black picture.
- Transparent pixels lie on black, the background of a radiograph. Palette, CMYK and colour go through RGB to ITU-R 601
  luma, which leaves a grey picture stored as colour exactly as it was.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from apo_lightning.errors import DataError

READING = 1
"""Raise it when the same file gives other pixels than before: decoded images that were kept are then read anew."""

MAX_PIXELS = 100_000_000
"""Four times the largest detector in use. A header that claims more is refused before anything is decoded."""

REPLACE = "Fetch the file again or take its row out of the table."


class Refused(Exception):
    """The file opens, but what it holds is not one radiograph; the text ends with what to do."""


def read_radiograph(path: str | Path, *, max_side: int | None = None) -> Image.Image:
    """The image at ``path`` as PIL mode ``L``.

    Args:
        path: anything that Pillow reads, or DICOM, whatever its suffix says.
        max_side: shrink to at most this many pixels on the long side; None keeps the size. JPEGs are then decoded at
            the next of 1/2, 1/4 and 1/8 of their size that is large enough, which is several times faster.

    Raises:
        DataError: missing, empty, not an image, truncated, larger than ``MAX_PIXELS``, animated, or a DICOM file that
            does not hold one frontal or lateral chest radiograph that can be decoded.
    """
    path = Path(path)
    head = refuse_unreadable(path)
    try:
        if is_dicom(head):
            from data_modules.dicom import read_dicom  # here, because importing pydicom takes time

            return shrink(read_dicom(path), max_side)
        from monai.data.image_reader import PILReader  # here, because importing MONAI takes seconds

        return PILReader(converter=partial(to_grey, max_side=max_side)).read(path)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image that can be read. {REPLACE}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {too_large('more')}") from error
    except Refused as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise DataError(f"{path}: truncated or damaged ({error}). {REPLACE}") from error


def refuse_unreadable(path: Path) -> bytes:
    """The cheap part of ``read_radiograph``: looks at the file system and the first bytes, which it returns.

    Raises:
        DataError: missing, a folder, empty, or not permitted.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: empty file (0 bytes). {REPLACE}")
        with path.open("rb") as file:
            head = file.read(132)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the image folder, or take its row out of the table.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from error
    return head


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM: the mark behind the preamble, or in a file without one an element of
    group 0002 or 0008, its length as text (explicit VR) or as a number (implicit VR).

    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"GIF89a")
    (True, False)
    """
    if head[128:132] == b"DICM":
        return True
    element, kind, length = head[2:4], head[4:6], int.from_bytes(head[4:8], "little")
    if head[:2] not in (b"\x02\x00", b"\x08\x00") or len(head) < 8 or element[1]:
        return False
    return kind in (b"UL", b"CS", b"UI", b"DA", b"TM", b"LO", b"SH", b"OB", b"AE") or 0 < length <= 256


def to_grey(image: Image.Image, max_side: int | None = None) -> Image.Image:
    """An opened image decoded into mode ``L``, upright, shrunk; closes the file behind ``image``.

    Raises:
        Refused: larger than ``MAX_PIXELS``, several frames, or pixels that are not finite.
    """
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise Refused(too_large(f"{image.width} x {image.height}"))
        frames = getattr(image, "n_frames", 1)  # only the formats that can hold several have it
        if frames != 1:
            raise Refused(f"holds {frames} frames. Save the one that is meant as a single image.")
        if max_side is not None:
            image.draft(image.mode, fitting(image.size, max_side))
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        return shrink(Image.fromarray(stretch(np.asarray(upright))), max_side)
    if upright.has_transparency_data:
        colour = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", colour.size, "black"), colour)
    grey = upright.convert("L") if upright.mode in ("L", "1") else upright.convert("RGB").convert("L")
    return shrink(grey, max_side)


def shrink(image: Image.Image, max_side: int | None) -> Image.Image:
    """The image with at most ``max_side`` pixels on its long side; a smaller one, or None, leaves it as it is."""
    if max_side is None or max(image.size) <= max_side:
        return image
    return image.resize(fitting(image.size, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)


def fitting(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """The size with its long side at ``max_side`` where it is longer, in the same proportions.

    >>> fitting((2500, 3000), 600), fitting((100, 50), 600), fitting((9000, 1), 100)
    ((500, 600), (100, 50), (100, 1))
    """
    scale = min(1.0, max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def stretch(pixels: np.ndarray) -> np.ndarray:
    """``[H, W]`` numbers of any range to uint8: the least becomes 0, the greatest 255; a flat image becomes 0.

    Raises:
        Refused: a pixel is not finite; ``read_radiograph`` adds the file and makes a DataError of it.
    """
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise Refused(f"has pixels that are not finite. {REPLACE}")
    low, high = values.min(), values.max()
    return np.round((values - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)


def too_large(size: str) -> str:
    """What is wrong with an image of so many pixels."""
    return f"its header claims {size} pixels; at most {MAX_PIXELS:,} are read. Shrink the image or replace the file."
