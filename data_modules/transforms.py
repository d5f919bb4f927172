"""Reading a radiograph from a file into 8-bit grey.

What is decided here, because files differ and a student must not see the difference:

- EXIF orientation is applied, as every viewer does; the labels were made on the upright image.
- Deeper than 8 bits (``I;16``, ``I``, ``F``): the image's own range is stretched to 0..255. Detectors fill 10 to 14 of
  16 bits, so dividing by 257 would give a nearly black picture.
- Transparent pixels lie on black, the background of a radiograph. Palette, CMYK and colour go through RGB to ITU-R 601
  luma, which leaves a grey picture stored as colour exactly as it was.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from apo_lightning.errors import DataError

MAX_PIXELS = 100_000_000
"""Four times the largest detector in use. A header that claims more is refused before anything is decoded."""

REPLACE = "Fetch the file again or take its row out of the table."


class _Refused(Exception):
    """The file opens, but what it holds is not one radiograph; the text ends with what to do."""


def read_radiograph(path: str | Path) -> Image.Image:
    """The image at ``path`` as PIL mode ``L``.

    Raises:
        DataError: missing, empty, not an image, truncated, larger than ``MAX_PIXELS``, animated, or DICOM.
    """
    from monai.data.image_reader import PILReader  # here, because importing MONAI takes seconds

    path = Path(path)
    refuse_unreadable(path)
    try:
        return PILReader(converter=to_grey).read(path)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image that can be read. {REPLACE}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {_bomb('more')}") from error
    except _Refused as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise DataError(f"{path}: truncated or damaged ({error}). {REPLACE}") from error


def refuse_unreadable(path: Path) -> None:
    """The cheap part of ``read_radiograph``: looks at the file system and the first bytes only.

    Raises:
        DataError: missing, a folder, empty, not permitted, or DICOM.
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
    if head[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
        raise DataError(f"{path}: DICOM is not read yet. Convert it to 8- or 16-bit grey PNG first.")


def to_grey(image: Image.Image) -> Image.Image:
    """An opened image decoded into mode ``L``, upright; closes the file behind ``image``."""
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise _Refused(_bomb(f"{image.width} x {image.height}"))
        frames = getattr(image, "n_frames", 1)  # only the formats that can hold several have it
        if frames != 1:
            raise _Refused(f"holds {frames} frames. Save the one that is meant as a single image.")
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        return Image.fromarray(stretch(np.asarray(upright)))
    if upright.has_transparency_data:
        colour = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", colour.size, "black"), colour)
    return upright.convert("L") if upright.mode in ("L", "1") else upright.convert("RGB").convert("L")


def stretch(pixels: np.ndarray) -> np.ndarray:
    """``[H, W]`` numbers of any range to uint8: the least becomes 0, the greatest 255; a flat image becomes 0.

    Raises:
        DataError: by way of ``read_radiograph``, when a pixel is not finite.
    """
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise _Refused(f"has pixels that are not finite. {REPLACE}")
    low, high = values.min(), values.max()
    return np.round((values - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)


def _bomb(size: str) -> str:
    return f"its header claims {size} pixels; at most {MAX_PIXELS:,} are read. Shrink the image or replace the file."
