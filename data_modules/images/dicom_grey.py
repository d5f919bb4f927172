"""Values of one sample a pixel to 8-bit grey, by the tables of PS3.3 C.11 in their order: modality LUT or rescale, then
VOI LUT, or the first window that is possible. The ends of a window become 0 and 255. Without either, the image's own
range is stretched, and 8-bit values stay as they are, as those of a PNG do.

A window is impossible if its width is below 1 (0 or less under LINEAR_EXACT and SIGMOID) or no number. It is passed by,
as viewers do, and said once: a file is not damaged because a device wrote 0 for "none".
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from data_modules.images.headers import Refused
from data_modules.images.pixels import NOT_FINITE, stretched, strips

log = logging.getLogger(__name__)

FAR = 1e30
"""Beyond the end of every window."""
FUNCTIONS = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}
"""VOILUTFunction to the least width of its windows; only LINEAR has that width itself."""


def settle(data: Any) -> None:
    """Put the one window that is used in the place of several, of an impossible one, or of one that is no pair, and
    LINEAR in the place of a function that does not exist."""
    function = str(data.get("VOILUTFunction") or "LINEAR").strip().upper()
    function = function if function in FUNCTIONS else "LINEAR"
    centers, widths = _numbers(data, "WindowCenter"), _numbers(data, "WindowWidth")
    pairs = enumerate(zip(centers, widths, strict=False))
    possible = [place for place, (center, width) in pairs if _is_possible(center, width, function)]
    if centers and widths and not possible:
        _say(
            f"WindowWidth {' '.join(f'{w:g}' for w in widths)} is an impossible window: such images are shown over "
            "their own range."
        )
    data.VOILUTFunction = function
    for keyword in ("WindowCenter", "WindowWidth"):
        if not possible:
            data.pop(keyword, None)
        elif data[keyword].VM > 1:
            data[keyword].value = data[keyword].value[possible[0]]


@cache
def _say(text: str) -> None:
    log.warning(text)


def _numbers(data: Any, keyword: str) -> list[float]:
    try:
        value = data.get(keyword)
        values = value if isinstance(value, (list, MultiValue)) else [] if value in (None, "") else [value]
        return [float(one) if one not in (None, "") else math.nan for one in values]
    except (TypeError, ValueError):
        return [math.nan]  # words where a number belongs


def _is_possible(center: float, width: float, function: str) -> bool:
    least = FUNCTIONS[function]
    return math.isfinite(center) and math.isfinite(width) and (width >= least if least else width > 0)


def grey(data: Any, values: np.ndarray, padded: np.ndarray | None) -> np.ndarray:
    """uint8 ``[H, W]``, before MONOCHROME1 is inverted; strip by strip, so that no wide copy of the whole is made.

    Args:
        data: header after ``settle``.
        values: ``[H, W]`` of any type.
        padded: bool ``[H, W]``, pixels that do not count for the own range.

    Raises:
        Refused: the window shows nothing, or a pixel is not finite.
    """
    rescale = _modality(data)
    show = _voi(data)
    if show is None:
        levels = np.arange(256, dtype=np.uint8)
        if values.dtype == np.uint8 and data.get("BitsStored", 8) == 8 and np.array_equal(rescale(levels), levels):
            return values if values.flags.writeable else values.copy()
        low, high = _range(values, rescale, padded)
        return _each(values, lambda part: stretched(np.clip(rescale(part), low, high), low, high))
    if values.dtype.kind == "f":
        _range(values, rescale, None)  # refuses what is not finite
    shown = _each(values, lambda part: show(rescale(part)))
    if shown.min() == shown.max() and values.min() != values.max():
        low, high = _range(values, rescale, None)
        raise Refused(
            f"nothing is seen through its window (WindowCenter {data.get('WindowCenter')}, WindowWidth "
            f"{data.get('WindowWidth')}; values {low:g} to {high:g}). Correct the window or leave the file out."
        )
    return shown


def _each(values: np.ndarray, show: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    shown = np.empty(values.shape, np.uint8)
    for rows in strips(values.shape):
        shown[rows] = show(values[rows])
    return shown


def _range(values: np.ndarray, rescale: Callable, padded: np.ndarray | None) -> tuple[float, float]:
    """
    Raises:
        Refused: a pixel is not finite.
    """

    def ends() -> Iterator[tuple[float, float]]:
        for rows in strips(values.shape):
            part = rescale(values[rows])
            part = part if padded is None else part[~padded[rows]]
            if part.size:
                yield float(part.min()), float(part.max())

    lows, highs = zip(*ends(), strict=True)
    if not (math.isfinite(sum(lows)) and math.isfinite(sum(highs))):
        raise Refused(NOT_FINITE)
    return min(lows), max(highs)


def _modality(data: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Through the modality LUT, or slope and intercept."""
    from pydicom.pixels import apply_modality_lut

    table = _table(data, "ModalityLUTSequence")
    if table is not None:
        entries, first = table
        return lambda values: entries[_places(values, first, len(entries))]
    return lambda values: apply_modality_lut(_wide(values), data)


def _voi(data: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Through the VOI LUT or else the window, to uint8; None where there is neither."""
    from pydicom.pixels import apply_windowing

    table = _table(data, "VOILUTSequence")
    if table is not None:
        entries, first = table
        shown = _scaled(entries, entries.min(), entries.max())
        return lambda values: shown[_places(values, first, len(entries))]
    if "WindowWidth" not in data:
        return None
    with np.errstate(over="ignore"):  # the sigmoid of FAR
        low, high = apply_windowing(np.array([-FAR, FAR]), data)

    def show(values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return _scaled(apply_windowing(values, data), low, high)

    return show


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """``low`` becomes 0 and ``high`` 255, also where ``low`` is the greater one (a negative rescale slope)."""
    share = (values.astype(np.float64) - low) / ((high - low) or 1.0)
    return np.round(share * 255).astype(np.uint8)


def _wide(values: np.ndarray) -> np.ndarray:
    """Room for what offsets make of it: pydicom subtracts in the type that it is given."""
    return values if values.dtype.kind == "f" else values.astype(np.int64)


def _table(data: Any, keyword: str) -> tuple[np.ndarray, int] | None:
    """Entries of the first LUT of a sequence and the value that has the first of them, by way of pydicom, which knows
    how they are packed."""
    from pydicom.pixels import apply_voi

    item = data[keyword].value[0] if data.get(keyword) else {}
    if item.get("LUTDescriptor") is None or item.get("LUTData") is None:
        return None
    entries, first, _ = item.LUTDescriptor
    item.LUTDescriptor = [entries, first, 16]  # pydicom would count places in 8 bits where entries have 8
    alone = Dataset()
    alone.VOILUTSequence, alone.file_meta = [item], data.file_meta
    return apply_voi(np.arange(first, first + (entries or 1 << 16)), alone).astype(np.int64), first


def _places(values: np.ndarray, first: int, entries: int) -> np.ndarray:
    """Which entry of a LUT each value has: the ends take what lies beyond them."""
    return np.rint(_wide(values) - first).astype(np.int64).clip(0, entries - 1)
