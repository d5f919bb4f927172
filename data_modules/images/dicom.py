"""DICOM radiographs: what is refused, and how stored values become an 8-bit picture.

``dicom_files`` opens the file within limits, pydicom decodes, ``dicom_bits`` takes the values out of their cells and
``dicom_grey`` shows them. MONOCHROME1 is inverted, whatever the PresentationLUTShape beside it: that "accounts for the
value of Photometric Interpretation" (PS3.3 C.8.11.3) and is INVERSE there. MONOCHROME2 with INVERSE contradicts itself
and is inverted as the shape says. Padding becomes black.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.multival import MultiValue

from apo_lightning.files.limits import MAX_PIXELS
from data_modules.images.dicom_bits import OVERLAY_GROUPS, padding_of, values_of
from data_modules.images.dicom_files import PIXEL_TAGS, read_header, read_image, refuse_codestream
from data_modules.images.dicom_grey import grey, settle
from data_modules.images.dicom_words import is_chest, is_listed, is_projection
from data_modules.images.headers import LEAVE_OUT, Refused
from data_modules.images.pixels import refuse_no_memory, stretched, strips

MODALITIES = ("CR", "DX", "DR", "RG")
"""Computed and digital radiography, the unofficial DR, and films that were scanned. One that is missing is let pass:
some ways of de-identifying drop it."""
POSITIONS = frozenset(f"{end}{side}" for end in ("HF", "FF", "LF", "RF", "AF", "PF") for side in ("P", "S", "DR", "DL"))
"""How a patient lies in a scanner. Legal in PatientPosition, and says nothing of the projection."""
MEANINGS = {
    "antero-posterior": "AP",
    "postero-anterior": "PA",
    "lateral": "LATERAL",
    "left lateral": "LL",
    "right lateral": "RL",
}
"""ViewCodeSequence of DX, by meaning."""
KEYWORDS = (
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ViewPosition",
    "PatientPosition",
    "ViewCodeSequence",
    "Modality",
    "BodyPartExamined",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
)
PALETTE = ("Red", "Green", "Blue")
IMAGE_KEYWORDS = (
    *KEYWORDS,
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "PresentationLUTShape",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    *(f"{colour}PaletteColorLookupTable{what}" for colour in PALETTE for what in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in PALETTE),
)
"""All that is read of an image; whatever else a file holds is passed by."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
MAY_BE_EMPTY = ("NumberOfFrames", "RescaleSlope", "RescaleIntercept", "BitsStored", "HighBit", "PixelPaddingValue")
"""Where pydicom tells an empty element from an absent one, which it should not."""

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
        return _header(read_header(path, KEYWORDS))
    except Refused:
        raise
    except Exception as error:  # pydicom raises nearly anything on a damaged file
        refuse_no_memory(Path(path), error)
        raise Refused(f"truncated or damaged ({error}). Fetch the file again or leave it out.") from error


def refuse_header(found: DicomHeader, body_parts: Sequence[str] = (), view_positions: Sequence[str] = ()) -> None:
    """
    Args:
        body_parts, view_positions: what is allowed beside chests and projections, in any case.

    Raises:
        Refused: this is no radiograph, or not of the chest, or the view is not a projection.
    """
    if found.modality and found.modality not in MODALITIES:
        raise Refused(f"its Modality is '{found.modality}'; allowed are {', '.join(MODALITIES)}. {LEAVE_OUT}")
    if not (is_chest(found.body_part) or is_listed(found.body_part, tuple(body_parts))):
        raise Refused(
            f"its BodyPartExamined is '{found.body_part}'; allowed are CHEST, THORAX, LUNG, with words of projection "
            "and position, and what data.body_parts lists. Add it there, or leave the file out."
        )
    if not (is_projection(found.view) or is_listed(found.view, tuple(view_positions))):
        raise Refused(
            f"its view (ViewPosition or PatientPosition) is '{found.view}'; allowed are AP, PA, LATERAL and other "
            "words of projection, and what data.view_positions lists. Add it there, or leave the file out."
        )


def read_dicom(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    body_parts: Sequence[str] = (),
    view_positions: Sequence[str] = (),
) -> Image.Image:
    """The radiograph at ``path`` as PIL mode ``L``.

    Args:
        max_pixels: rows x columns x samples, at most.
        body_parts, view_positions: see ``refuse_header``.

    Raises:
        Refused: not one chest radiograph of at most ``max_pixels``, or no installed package decodes it.
        Exception: what pydicom raises on a damaged file.
    """
    refuse_header(header(path), body_parts, view_positions)
    overlays = [group << 16 | 0x0102 for group in OVERLAY_GROUPS]
    data = read_image(path, [*IMAGE_KEYWORDS, *overlays, *PIXEL_TAGS], max_pixels)
    if not any(data.get(keyword) for keyword in PIXELS):
        raise Refused(f"holds no pixel data. {LEAVE_OUT}")
    for keyword in MAY_BE_EMPTY:
        if keyword in data and data.get(keyword) is None:
            del data[keyword]
    settle(data)
    cells, kind = _decode(data), str(data.get("PhotometricInterpretation", ""))
    if cells.ndim == 3 or kind == "PALETTE COLOR":
        return _luma(data, cells, kind)
    values = values_of(cells, data)
    padded = padding_of(cells, values, data)
    del cells
    shown = grey(data, values, padded)
    if kind == "MONOCHROME1" or _text(data, "PresentationLUTShape").upper() == "INVERSE":
        np.subtract(255, shown, out=shown)
    if padded is not None:
        shown[padded] = 0
    return Image.fromarray(shown)


def _header(data: Any) -> DicomHeader:
    patient, study, series, *_, modality, body_part, date, time, description = (_text(data, word) for word in KEYWORDS)
    return DicomHeader(
        patient, study, series, _view(data), modality.upper(), body_part.upper(), date, time, description
    )


def _text(data: Any, keyword: str) -> str:
    value = data.get(keyword)
    if isinstance(value, (list, MultiValue)):
        return "\\".join(map(str, value)).strip()
    return "" if value is None else str(value).strip()


def _view(data: Any) -> str:
    words = _text(data, "ViewPosition")
    if not words and _text(data, "PatientPosition").upper() not in POSITIONS:
        words = _text(data, "PatientPosition")
    if not words and data.get("ViewCodeSequence"):
        return MEANINGS.get(_text(data.ViewCodeSequence[0], "CodeMeaning").lower(), "")
    return " ".join(words.upper().replace("_", " ").split())


def _decode(data: Any) -> np.ndarray:
    """Cells as they are stored, ``[H, W]`` or ``[H, W, 3]``; YBR as RGB."""
    from pydicom import uid
    from pydicom.encaps import get_frame
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
    if syntax.is_encapsulated:
        refuse_codestream(data, get_frame(data.PixelData, 0, number_of_frames=1))
    try:
        return pixel_array(data, correct_unused_bits=False)  # pydicom does not look at HighBit
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


def _luma(data: Any, pixels: np.ndarray, kind: str) -> Image.Image:
    """Colour and palettes by way of RGB, as other pictures go."""
    from pydicom.pixels import apply_color_lut

    if kind != "PALETTE COLOR":
        pixels = values_of(pixels, data)

    def colour(rows: slice) -> np.ndarray:
        return apply_color_lut(pixels[rows], data) if kind == "PALETTE COLOR" else pixels[rows]

    shown = np.empty(pixels.shape[:2], np.uint8)
    deep = colour(slice(1)).dtype != np.uint8
    ends = [(part.min(), part.max()) for part in map(colour, strips(shown.shape))] if deep else [(0, 255)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    for rows in strips(shown.shape):
        eight = stretched(colour(rows), low, high) if deep else colour(rows)
        shown[rows] = np.asarray(Image.fromarray(eight).convert("L"))
    return Image.fromarray(shown)
