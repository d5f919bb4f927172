"""DICOM radiographs: what is refused, and how stored values become an 8-bit picture.

MONAI reads the file, pydicom decodes and applies the tables of PS3.3 C.11 in their order: modality LUT or rescale,
then VOI LUT or window (the first of several). The ends of a window become 0 and 255. Without either, the image's own
range is stretched, and 8-bit values stay as they are, as those of a PNG do. MONOCHROME1 is inverted, padding becomes
black.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_modules.transforms import MAX_PIXELS, Refused, stretch, too_large

MODALITIES = ("CR", "DX", "DR", "RG")
"""Computed and digital radiography, the unofficial DR, and films that were scanned. One that is missing is let pass:
some ways of de-identifying drop it."""
BODY_PARTS = ("CHEST", "THORAX", "LUNG")
VIEWS = (
    "AP", "PA", "LATERAL", "LAT", "LL", "RL", "AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD", "LLD", "RLD",
    "LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "XTABLE LATERAL", "SWIMMERS",
)  # fmt: skip
"""Projections: the defined terms of DX and those that occur in MIMIC-CXR."""
POSITIONS = frozenset(f"{end}{side}" for end in ("HF", "FF", "LF", "RF", "AF", "PF") for side in ("P", "S", "DR", "DL"))
"""How a patient lies in a scanner. Legal in PatientPosition, and says nothing of the projection."""
MEANINGS = {
    "antero-posterior": "AP", "postero-anterior": "PA", "lateral": "LATERAL", "left lateral": "LL",
    "right lateral": "RL",
}  # fmt: skip
"""ViewCodeSequence of DX, by meaning."""
KEYWORDS = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "ViewPosition", "PatientPosition", "ViewCodeSequence",
    "Modality", "BodyPartExamined", "StudyDate", "StudyTime", "StudyDescription",
)  # fmt: skip
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
MAY_BE_EMPTY = ("NumberOfFrames", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
"""Where pydicom tells an empty element from an absent one, which it should not."""
FAR = 1e30
"""Beyond the end of every window."""
LEAVE_OUT = "Leave it out of the data set."

# Each codec that fails would print a traceback; the reason reaches the user in the error.
logging.getLogger("pydicom.pixels.decoders.base").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class DicomHeader:
    """What a header says, without surrounding blanks, "" where it is silent.

    Attributes:
        patient, study, series: PatientID and the two UIDs.
        view: projection in capitals, from ViewPosition, else from PatientPosition where that holds one, else from
            ViewCodeSequence.
        modality, body_part: in capitals.
        date, time: of the study, ``YYYYMMDD`` and ``HHMMSS.F``.
        description: of the study.
    """

    patient: str = ""
    study: str = ""
    series: str = ""
    view: str = ""
    modality: str = ""
    body_part: str = ""
    date: str = ""
    time: str = ""
    description: str = ""


def header(path: str | Path) -> DicomHeader:
    """The header, read without the pixels.

    Raises:
        Refused: the file cannot be read as DICOM.
    """
    try:
        return _header(_read(path, stop_before_pixels=True, specific_tags=list(KEYWORDS)))
    except Exception as error:  # pydicom raises nearly anything on a damaged file
        raise Refused(f"truncated or damaged ({error}). Fetch the file again or leave it out.") from error


def refuse_header(found: DicomHeader) -> None:
    """
    Raises:
        Refused: this is no radiograph, or not of the chest, or the view is not a projection.
    """
    for name, value, allowed in (
        ("Modality", found.modality, MODALITIES),
        ("BodyPartExamined", found.body_part, BODY_PARTS),
        ("view (ViewPosition or PatientPosition)", found.view, VIEWS),
    ):
        if value and value not in allowed:
            raise Refused(f"its {name} is '{value}'; allowed are {', '.join(allowed)}. {LEAVE_OUT}")


def read_dicom(path: str | Path) -> Image.Image:
    """The radiograph at ``path`` as PIL mode ``L``.

    Raises:
        Refused: not one chest radiograph of at most ``MAX_PIXELS``, or no installed package decodes it.
        Exception: what pydicom raises on a damaged file.
    """
    data = _read(path)
    for keyword in MAY_BE_EMPTY:
        if keyword in data and data.get(keyword) is None:
            del data[keyword]
    refuse_header(_header(data))
    _refuse_pixels(data)
    stored = _decode(data)
    kind = str(data.get("PhotometricInterpretation", ""))
    if stored.ndim == 3 or kind == "PALETTE COLOR":
        return _luma(data, stored, kind)
    grey, padded = _grey(data, stored), _padding(data, stored)
    grey = 255 - grey if kind == "MONOCHROME1" else grey
    return Image.fromarray(grey if padded is None else np.where(padded, np.uint8(0), grey))


def _read(path: str | Path, **how: Any) -> Any:
    from monai.data.image_reader import PydicomReader  # here, because importing MONAI takes seconds

    return PydicomReader(force=True, **how).read(path)  # force: files without a preamble


def _header(data: Any) -> DicomHeader:
    patient, study, series, *_, modality, body_part, date, time, description = (_text(data, word) for word in KEYWORDS)
    return DicomHeader(
        patient, study, series, _view(data), modality.upper(), body_part.upper(), date, time, description
    )


def _text(data: Any, keyword: str) -> str:
    value = data.get(keyword)
    return "" if value is None else str(value).strip()


def _view(data: Any) -> str:
    words = _text(data, "ViewPosition")
    if not words and _text(data, "PatientPosition").upper() not in POSITIONS:
        words = _text(data, "PatientPosition")
    if not words and data.get("ViewCodeSequence"):
        return MEANINGS.get(_text(data.ViewCodeSequence[0], "CodeMeaning").lower(), "")
    return " ".join(words.upper().replace("_", " ").split())


def _refuse_pixels(data: Any) -> None:
    if not any(data.get(keyword) for keyword in PIXELS):
        raise Refused(f"holds no pixel data. {LEAVE_OUT}")
    frames = int(data.get("NumberOfFrames") or 1)
    if frames != 1:
        raise Refused(f"holds {frames} frames. Save the one that is meant as a single image.")
    rows, columns = int(data.get("Rows") or 0), int(data.get("Columns") or 0)
    if rows * columns > MAX_PIXELS:
        raise Refused(too_large(f"{columns} x {rows}"))


def _decode(data: Any) -> np.ndarray:
    """Stored values, ``[H, W]`` or ``[H, W, 3]``; YBR as RGB."""
    from pydicom import uid
    from pydicom.pixels import get_decoder, pixel_array

    syntax = data.file_meta.get("TransferSyntaxUID") or uid.ExplicitVRLittleEndian  # files without meta information
    data.file_meta.TransferSyntaxUID = syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise Refused(
            f"its transfer syntax is {syntax.name} ({syntax}), for which there is no decoder. Convert the file."
        ) from error
    if not decoder.is_available:
        raise Refused(f"its pixels are {syntax.name} ({syntax}), which nothing installed decodes. {_install(decoder)}")
    try:
        return pixel_array(data)
    except RuntimeError as error:  # every codec gave up
        raise Refused(
            f"its pixels ({syntax.name}, {syntax}) could not be decoded ({' '.join(str(error).split())}). Fetch the "
            f"file again. If it is whole, another codec may help. {_install(decoder)}"
        ) from error


def _install(decoder: Any) -> str:
    """Packages that would decode it, from pydicom's own table."""
    needs = (line.partition(" - requires ")[2] for line in decoder.missing_dependencies)
    lists = [[p for p in re.split(", | and ", need) if p and p != "numpy"] for need in needs]
    choices = sorted(
        (" ".join(packages) for packages in lists if packages), key=lambda c: not c.startswith("pylibjpeg")
    )
    named = (re.sub(r"\bgdcm\b", "python-gdcm", choice) for choice in choices)
    return "" if not choices else f"Install one of: {'; '.join(named)}."


def _grey(data: Any, stored: np.ndarray) -> np.ndarray:
    """uint8 ``[H, W]`` of one sample a pixel, before MONOCHROME1 is inverted."""
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(_wide(stored), data)
    shown = _through_voi(data, values)
    if shown is None:
        return _own_range(data, stored, values)
    if shown.min() == shown.max() and stored.min() != stored.max():
        raise Refused(
            f"nothing is seen through its window (WindowCenter {data.get('WindowCenter')}, WindowWidth "
            f"{data.get('WindowWidth')}; values {values.min():g} to {values.max():g}). Correct the window or leave "
            "the file out."
        )
    return shown


def _through_voi(data: Any, values: np.ndarray) -> np.ndarray | None:
    """Through the VOI LUT or else the window; None where there is neither."""
    from pydicom.pixels import apply_windowing

    if (table := _voi_table(data)) is not None:
        return _scaled(table, table.min(), table.max())[_places(data, values, len(table))]
    if "WindowCenter" not in data or "WindowWidth" not in data:
        return None
    with np.errstate(over="ignore"):  # the sigmoid of FAR
        low, high = apply_windowing(np.array([-FAR, FAR]), data)
        return _scaled(apply_windowing(values, data), low, high)


def _own_range(data: Any, stored: np.ndarray, values: np.ndarray) -> np.ndarray:
    if stored.dtype == np.uint8 and data.get("BitsStored") == 8 and np.array_equal(values, stored):
        return stored
    padded = _padding(data, stored)
    return stretch(values if padded is None else np.clip(values, values[~padded].min(), values[~padded].max()))


def _wide(stored: np.ndarray) -> np.ndarray:
    """Room for what tables and offsets make of it: pydicom subtracts in the type that it is given."""
    return stored if stored.dtype.kind == "f" else stored.astype(np.int64)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """``low`` becomes 0 and ``high`` 255, also where ``low`` is the greater one (a negative rescale slope)."""
    share = (values.astype(np.float64) - low) / ((high - low) or 1.0)
    return np.round(share * 255).astype(np.uint8)


def _voi_table(data: Any) -> np.ndarray | None:
    """Entries of the first VOI LUT, by way of pydicom, which knows how they are packed."""
    from pydicom.pixels import apply_voi

    item = data.VOILUTSequence[0] if data.get("VOILUTSequence") else {}
    if item.get("LUTDescriptor") is None or item.get("LUTData") is None:
        return None
    entries, first, _ = item.LUTDescriptor
    item.LUTDescriptor = [entries, first, 16]  # pydicom would count places in 8 bits where entries have 8
    return apply_voi(np.arange(first, first + (entries or 1 << 16)), data)


def _places(data: Any, values: np.ndarray, entries: int) -> np.ndarray:
    """Which entry of the VOI LUT each value has: the ends take what lies beyond them."""
    return np.rint(values - data.VOILUTSequence[0].LUTDescriptor[1]).astype(np.int64).clip(0, entries - 1)


def _padding(data: Any, stored: np.ndarray) -> np.ndarray | None:
    """Where the header says that there is no image; None where it says nothing, or that there is none at all."""
    if data.get("PixelPaddingValue") is None:
        return None
    ends = (int(data.PixelPaddingValue), int(data.get("PixelPaddingRangeLimit") or data.PixelPaddingValue))
    padded = (stored >= min(ends)) & (stored <= max(ends))
    return None if padded.all() else padded


def _luma(data: Any, pixels: np.ndarray, kind: str) -> Image.Image:
    """Colour and palettes by way of RGB, as other pictures go."""
    from pydicom.pixels import apply_color_lut

    colour = apply_color_lut(pixels, data) if kind == "PALETTE COLOR" else pixels
    return Image.fromarray(colour if colour.dtype == np.uint8 else stretch(colour)).convert("RGB").convert("L")
