"""Opening DICOM files by what they declare, so that a small one cannot claim all memory.

pydicom reads whatever length an element states, inflates a deflated file in one go, and its codecs trust the size in
the codestream. So the header is read first, from a bounded piece; then the pixels, if what it declares is permitted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from apo_lightning.files.limits import (
    BYTES_A_PIXEL,
    IMAGE_OVERHEAD,
    MAX_DICOM_ELEMENT,
    MAX_DICOM_HEADER,
    MAX_DICOM_PIECES,
)
from data_modules.images.headers import LEAVE_OUT, Refused, refuse_large_file, refuse_strip, too_large

DEFLATED, PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
"""Deflated explicit VR little endian, and the same when it is inflated."""
META = 132 + 12
"""Bytes up to the end of the element that says how long the meta information is."""
PIXELS = 0x7FE00010
"""The last of the three tags that hold pixels."""
PIXEL_TAGS = (0x7FE00008, 0x7FE00009, PIXELS)
UNDEFINED = 0xFFFFFFFF
SAMPLES = (1, 3)
BITS = (1, 8, 16, 32, 64)

Stop = Callable[[int, str | None, int], bool]


def read_header(path: str | Path, tags: Sequence[Any]) -> Any:
    """A pydicom data set with those of ``tags`` that stand before the pixels.

    Raises:
        Refused: the header is larger than ``MAX_DICOM_HEADER``, or an element of it than ``MAX_DICOM_ELEMENT``.
        Exception: what pydicom raises on a damaged file.
    """
    from pydicom.tag import Tag

    wanted = {Tag(tag) for tag in tags}
    head, rest = _beginning(path, MAX_DICOM_HEADER)
    stopped: list[int] = []

    def stop(tag: int, _: str | None, length: int) -> bool:
        if tag in PIXEL_TAGS:
            stopped.append(tag)
        elif tag in wanted and MAX_DICOM_ELEMENT < length < UNDEFINED:
            raise Refused(
                f"its element {Tag(tag)} claims {length:,} bytes; at most {MAX_DICOM_ELEMENT:,} are read of "
                f"one that is no pixels. {LEAVE_OUT}"
            )
        return tag in PIXEL_TAGS

    data = _parse(_Pieces(head), tags, stop)
    if rest and not stopped:
        raise Refused(f"its header has more than {MAX_DICOM_HEADER:,} bytes before any pixels. {LEAVE_OUT}")
    return data


def read_image(path: str | Path, tags: Sequence[Any], max_pixels: int) -> Any:
    """A pydicom data set with ``tags`` and the pixels, not decoded.

    Raises:
        Refused: what the header declares is not one image of at most ``max_pixels`` samples, or the file, or what it
            inflates to, is larger than such an image can be.
        Exception: what pydicom raises on a damaged file.
    """
    most = BYTES_A_PIXEL * max_pixels + IMAGE_OVERHEAD
    refuse_large_file(path, most)
    declared = _declared_bytes(read_header(path, tags), max_pixels)

    def stop(tag: int, _: str | None, length: int) -> bool:
        if length > most and length != UNDEFINED:
            raise ValueError(f"an element claims {length:,} bytes")
        return tag > PIXELS  # trailing elements are not needed

    with open(path, "rb") as file:
        if not _is_deflated(file):
            return _parse(file, tags, stop)
    content, rest = _beginning(path, declared + 2 * MAX_DICOM_HEADER)
    if rest:
        raise Refused(
            f"it inflates to more than {len(content):,} bytes, where its header declares {declared:,} of "
            f"pixels. {LEAVE_OUT}"
        )
    return _parse(BytesIO(content), tags, stop)


def _parse(file: BinaryIO, tags: Sequence[Any], stop: Stop) -> Any:
    """By pydicom itself: MONAI's reader cannot be told where to stop."""
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    wanted = [Tag(tag) for tag in tags]
    return read_partial(file, stop_when=stop, force=True, specific_tags=wanted)  # force: files without a preamble


class _Pieces(BytesIO):
    """Counts in how many pieces it is read: a sequence without length can hold a million elements."""

    pieces = 0

    def read(self, size: int | None = -1) -> bytes:
        self.pieces += 1
        if self.pieces > MAX_DICOM_PIECES:
            raise Refused(f"its header has more than {MAX_DICOM_PIECES:,} pieces. {LEAVE_OUT}")
        return super().read(size)


def _beginning(path: str | Path, most: int) -> tuple[bytes, bool]:
    """The first bytes of a file, the deflated part inflated, and whether there are more."""
    with open(path, "rb") as file:
        length = _is_deflated(file)
        if not length:
            return file.read(most), bool(file.read(1))
        head = file.read(META + length).replace(DEFLATED, PLAIN)
        unpack = zlib.decompressobj(-zlib.MAX_WBITS)
        body = unpack.decompress(file.read(), most)
        return head + body, bool(unpack.unconsumed_tail and unpack.decompress(unpack.unconsumed_tail, 1))


def _is_deflated(file: BinaryIO) -> int:
    """Length of the meta information of a deflated file, 0 for another; leaves the file at its beginning."""
    head = file.read(META)
    length = int.from_bytes(head[-4:], "little") if head[132:136] == b"\x02\0\0\0" else 0
    deflated = DEFLATED in file.read(min(length, MAX_DICOM_HEADER) or 4096)
    file.seek(0)
    if deflated and not length:
        raise Refused(f"it is deflated and does not say how long its meta information is. {LEAVE_OUT}")
    return length if deflated else 0


def _declared_bytes(data: Any, max_pixels: int) -> int:
    """
    Raises:
        Refused: not one image of 1 or 3 samples of a size that is read.
    """
    frames, samples = int(data.get("NumberOfFrames") or 1), int(data.get("SamplesPerPixel") or 1)
    rows, columns = int(data.get("Rows") or 0), int(data.get("Columns") or 0)
    bits, kept = int(data.get("BitsAllocated") or 8), int(data.get("BitsStored") or 1)
    if frames != 1:
        raise Refused(f"holds {frames} frames. Save the one that is meant as a single image.")
    if samples not in SAMPLES:
        raise Refused(f"its header claims {samples} samples a pixel; 1 and 3 are read. {LEAVE_OUT}")
    if rows * columns * samples > max_pixels:
        raise Refused(too_large(f"{columns} x {rows}{' x 3' if samples == 3 else ''}", max_pixels))
    refuse_strip(columns, rows)
    if bits not in BITS or kept > bits:
        raise Refused(
            f"its BitsAllocated is {bits} and its BitsStored {kept}; read are {', '.join(map(str, BITS))} "
            f"bits and no more stored than allocated. {LEAVE_OUT}"
        )
    return rows * columns * samples * max(1, bits // 8)


def refuse_codestream(data: Any, frame: bytes) -> None:
    """Look into the encoded frame for the size that its codec will allocate.

    Raises:
        Refused: it is another one than the header's.
    """
    from pydicom.uid import RLELossless

    rows, columns, samples = data.Rows, data.Columns, data.SamplesPerPixel
    if data.file_meta.TransferSyntaxUID == RLELossless:
        if any(_runs_over(segment, 2 * rows * columns) for segment in _segments(frame)):
            raise Refused(
                f"a segment of its run-length code has more than twice the {columns} x {rows} bytes that its "
                f"header declares. {LEAVE_OUT}"
            )
        return
    found = codestream_size(frame)
    if found is not None and found != (rows, columns, samples):
        raise Refused(
            "its code holds {1} x {0} pixels of {2} samples".format(*found)
            + f", its header declares {columns} x {rows} of {samples}. Fetch the file again."
        )


def codestream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components of a JPEG, JPEG-LS or JPEG 2000 codestream; None of another."""
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) >= 42:  # JPEG 2000: SOC, SIZ
        right, bottom, left, top = struct.unpack(">4I", frame[8:24])
        return bottom - top, right - left, struct.unpack(">H", frame[40:42])[0]
    place = 2
    while frame[:2] == b"\xff\xd8" and place + 10 <= len(frame) and frame[place] == 0xFF:
        kind = frame[place + 1]
        if kind == 0xF7 or (0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)):
            return (*struct.unpack(">HH", frame[place + 5 : place + 9]), frame[place + 9])
        place += 1 if kind == 0xFF else 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None


def _segments(frame: bytes) -> Iterator[bytes]:
    count = min(int.from_bytes(frame[:4], "little"), 15)
    ends = [int.from_bytes(frame[4 * i + 4 : 4 * i + 8], "little") for i in range(count)]
    yield from (frame[start:stop] for start, stop in zip(ends, [*ends[1:], len(frame)], strict=True))


def _runs_over(segment: bytes, most: int) -> bool:
    """Whether a segment of PackBits becomes more than ``most`` bytes. Its decoder would find out by making them."""
    place = made = 0
    while place < len(segment) and made <= most:
        head = segment[place]
        made += 257 - head if head > 128 else (head + 1 if head < 128 else 0)
        place += 2 if head > 128 else (head + 2 if head < 128 else 1)
    return made > most
