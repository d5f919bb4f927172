"""Which bits of a stored cell are the value (PS3.5 section 8.1.1), and which cells are padding (PS3.3 C.7.5.1.1.2).

The value has BitsStored bits and ends at HighBit. What lies beside it is not part of it: overlays of old files, or
whatever the device left there. pydicom takes HighBit for BitsStored - 1, so that 12 bits ending at bit 15 would wrap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


def values_of(cells: np.ndarray, data: Any) -> np.ndarray:
    """Cells as their codec gives them to values, of the same type; floats are values already.

    A HighBit that leaves no room for the value is ignored. So is one that the cells contradict: values that fit where
    they would stand without it, and use the bits that it says are not theirs. Such headers are common, since most
    readers never look at HighBit.
    """
    width, kept, low = _layout(cells, data)
    if kept == width:
        return cells
    if low and _contradicted(cells, data, kept, low):
        low = 0
    values = np.left_shift(cells, width - kept - low)
    return np.right_shift(values, width - kept, out=values)  # signed cells keep their sign


def padding_of(cells: np.ndarray, values: np.ndarray, data: Any) -> np.ndarray | None:
    """Where the header says that there is no image, bool ``[H, W]``; None where it says nothing, or that there is none
    at all. A padding value that no value can have is looked for among the cells."""
    if data.get("PixelPaddingValue") is None:
        return None
    limit = data.get("PixelPaddingRangeLimit")
    first = _signed(data.PixelPaddingValue, cells)
    last = first if limit is None else _signed(limit, cells)
    width, kept, _ = _layout(cells, data)
    ends = range(-(1 << kept - 1), 1 << kept - 1) if cells.dtype.kind == "i" else range(1 << kept)
    held = values if kept == width or (first in ends and last in ends) else cells
    padded = (held >= min(first, last)) & (held <= max(first, last))
    return None if padded.all() else padded


def _layout(cells: np.ndarray, data: Any) -> tuple[int, int, int]:
    """Bits of a cell, those of the value, and those below it."""
    width = 8 * cells.dtype.itemsize
    kept = int(data.get("BitsStored") or width)
    if cells.dtype.kind == "f" or int(data.get("BitsAllocated") or width) != width:
        return width, width, 0
    high = data.get("HighBit")
    low = 0 if high is None else int(high) - kept + 1
    return width, kept, low if 0 < low <= width - kept else 0


def _contradicted(cells: np.ndarray, data: Any, kept: int, low: int) -> bool:
    if any(data.get((group, 0x0102)) is not None and data[group, 0x0102].value for group in OVERLAY_GROUPS):
        return False  # OverlayBitPosition: it says whose the other bits are
    used = int(np.bitwise_or.reduce(cells, axis=None)) & ((1 << low) - 1)
    signed = int(cells.dtype.kind == "i")
    return bool(used) and -(signed << kept - 1) <= int(cells.min()) and int(cells.max()) < 1 << kept - signed


def _signed(value: Any, cells: np.ndarray) -> float:
    """A padding value as the cells have it: the element is often written with the sign of another."""
    if cells.dtype.kind == "f":
        return float(value)
    width = 8 * cells.dtype.itemsize
    number = int(value) & ((1 << width) - 1)
    return number - (1 << width) if cells.dtype.kind == "i" and number >> width - 1 else number
