"""Arrays and images of grey values: ranges, strips, sizes, and a lack of memory that is no fault of an image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from apo_lightning.errors import ConfigError
from data_modules.images.headers import Refused

STRIP = 2_000_000
"""Pixels that are converted at a time: sixteen bytes each for a moment."""


REPLACE = "Fetch the file again or take its row out of the table."


_NO_MEMORY = re.compile(r"MemoryError|[Cc]an't allocate|Unable to allocate|[Cc]annot allocate|[Oo]ut of memory")


NOT_FINITE = f"has pixels that are not finite. {REPLACE}"


def refuse_no_memory(path: Path, error: BaseException) -> None:
    """A lack of memory is none of the image, which must be neither called damaged nor left out.

    Raises:
        ConfigError: that is what the error, or one that it came of, says.
    """
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    if any(isinstance(one, MemoryError) or _NO_MEMORY.search(str(one)) for one in chain):
        raise ConfigError(
            f"{path}: there is not enough memory to read it; the image may be sound ({path.stat().st_size:,} bytes on "
            "disk). Free memory, or lower data.num_workers or data.max_pixels."
        ) from chain[0]


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


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an image of ``shape`` (height, width, ...), ``STRIP`` pixels at a time."""
    height, step = shape[0], max(1, STRIP // max(1, shape[1]))
    yield from (slice(start, min(start + step, height)) for start in range(0, height, step))


def stretch(pixels: np.ndarray) -> np.ndarray:
    """``[H, W]`` numbers of any range to uint8: the least becomes 0, the greatest 255; a flat image becomes 0.

    Raises:
        Refused: a pixel is not finite; ``read_radiograph`` adds the file and makes a DataError of it.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(low + high):  # NaN is the least and the greatest where there is one
        raise Refused(NOT_FINITE)
    grey = np.empty(pixels.shape, np.uint8)
    for rows in strips(pixels.shape):
        grey[rows] = stretched(pixels[rows], low, high)
    return grey


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers between ``low`` and ``high`` to uint8: ``low`` becomes 0, ``high`` 255."""
    return np.round((values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)
