"""Reading a radiograph from a file into 8-bit grey.

What is decided here, because files differ and a student must not see the difference:

- EXIF orientation is applied, as every viewer does; the labels were made on the upright image.
- Deeper than 8 bits (``I;16``, ``I``, ``F``): the image's own range is stretched to 0..255. Detectors fill 10 to 14 of
  16 bits, so dividing by 257 would give a nearly black picture.
- Transparent pixels lie on black, the background of a radiograph. Palette, CMYK and colour go through RGB to ITU-R 601
  luma, which leaves a grey picture stored as colour exactly as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from apo_lightning.errors import DataError
from apo_lightning.files.limits import BYTES_A_PIXEL, IMAGE_OVERHEAD, MAX_FRAMES, MAX_PIXELS
from data_modules.images.headers import Refused, refuse_picture, refuse_strip, too_large
from data_modules.images.pixels import REPLACE, fitting, refuse_no_memory, shrink, stretch, strips

READING = 2
"""Raise it when the same file gives other pixels than before: decoded images that were kept are then read anew."""

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""What Pillow is asked to open. Its other plugins read no radiograph, and one of them runs Ghostscript."""


def read_radiograph(
    path: str | Path,
    *,
    max_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    body_parts: Sequence[str] = (),
    view_positions: Sequence[str] = (),
) -> Image.Image:
    """The image at ``path`` as PIL mode ``L``.

    Args:
        path: anything that Pillow reads, or DICOM, whatever its suffix says.
        max_side: shrink to at most this many pixels on the long side; None keeps the size. JPEGs are then decoded at
            the next of 1/2, 1/4 and 1/8 of their size that is large enough, which is several times faster.
        max_pixels: a header that claims more is refused before anything is decoded.
        body_parts, view_positions: of DICOM headers, allowed beside chests and projections.

    Raises:
        DataError: missing, empty, not an image, truncated, larger than ``max_pixels``, animated, or a DICOM file that
            does not hold one frontal or lateral chest radiograph that can be decoded.
    """
    path = Path(path)
    head = refuse_unreadable(path)
    try:
        if is_dicom(head):
            from data_modules.images.dicom import read_dicom

            image = read_dicom(path, max_pixels=max_pixels, body_parts=body_parts, view_positions=view_positions)
            return shrink(image, max_side)
        refuse_picture(path, head, BYTES_A_PIXEL * max_pixels + IMAGE_OVERHEAD, max_pixels)
        from monai.data.image_reader import PILReader  # here, because importing MONAI takes seconds

        convert = partial(to_grey, max_side=max_side, max_pixels=max_pixels)
        return PILReader(converter=convert, formats=FORMATS).read(path)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image that can be read. {REPLACE}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {too_large('more', max_pixels)}") from error
    except Refused as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # decoders raise nearly anything on a damaged file
        refuse_no_memory(path, error)
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
    except ValueError as error:
        raise DataError(f"{path}: no name of a file ({error}). Correct it in the table.") from error
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


def to_grey(image: Image.Image, max_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An opened image decoded into mode ``L``, upright, shrunk; closes the file behind ``image``.

    Raises:
        Refused: larger than ``max_pixels``, a strip, several frames, or pixels that are not finite.
    """
    with image:
        if image.width * image.height > max_pixels:
            raise Refused(too_large(f"{image.width} x {image.height}", max_pixels))
        refuse_strip(*image.size)
        _refuse_frames(image)
        if max_side is not None:
            image.draft(image.mode, fitting(image.size, max_side))
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        return shrink(Image.fromarray(stretch(np.asarray(upright))), max_side)
    if upright.mode == "L" and not upright.has_transparency_data:
        return shrink(upright, max_side)
    grey = Image.new("L", upright.size)
    for rows in strips((upright.height, upright.width)):
        grey.paste(_luma(upright.crop((0, rows.start, upright.width, rows.stop))), (0, rows.start))
    return shrink(grey, max_side)


def _refuse_frames(image: Image.Image) -> None:
    """Counts only so far: a small file can hold a million, and to know their number is to walk through all."""
    frames = 1
    if getattr(image, "is_animated", False):  # only the formats that can hold several have it
        try:
            for frames in range(2, MAX_FRAMES + 1):
                image.seek(frames - 1)
        except EOFError:
            frames -= 1
    if frames > 1:
        many = f"{MAX_FRAMES} or more" if frames == MAX_FRAMES else frames
        raise Refused(f"holds {many} frames. Save the one that is meant as a single image.")


def _luma(part: Image.Image) -> Image.Image:
    if part.has_transparency_data:
        colour = part.convert("RGBA")
        part = Image.alpha_composite(Image.new("RGBA", colour.size, "black"), colour)
    return part.convert("L") if part.mode in ("L", "1") else part.convert("RGB").convert("L")
