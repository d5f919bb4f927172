"""Images of a run folder, small enough that hundreds fit into one page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from apo_lightning.files.limits import MAX_PIXELS

SIDE = 320
"""Pixels on the long side."""
QUALITY = 75
MAX_BYTES = 16_000_000
FORMATS = ("PNG", "JPEG")
"""Pillow's reader of WebP allocates before its size is known."""


def uri(path: Path) -> str | None:
    """The image as a small grey WebP in a data URI; None where it is no image that is safe to decode.

    ``path`` must have been checked to belong to the run folder.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            small = shrunk(image.convert("L"))
        content = io.BytesIO()
        small.save(content, "WEBP", quality=QUALITY, method=4)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises on a damaged file
        return None
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def shrunk(image: Image.Image, side: int = SIDE) -> Image.Image:
    """``image`` with at most ``side`` pixels on its long side; itself where it is no larger."""
    if max(image.size) <= side:
        return image
    share = side / max(image.size)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
