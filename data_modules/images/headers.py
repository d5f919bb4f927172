"""What the first bytes of a picture say, looked at before Pillow opens it: some of its plugins allocate on opening."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from apo_lightning.files.limits import MAX_ASPECT, MAX_PIXELS, MAX_PNG_CHUNKS, MAX_PNG_TEXT

PNG = b"\x89PNG\r\n\x1a\n"
LEAVE_OUT = "Leave it out of the data set."
AGAIN = "Fetch the file again, or save it without its text chunks."


class Refused(Exception):
    """The file opens, but what it holds is not one radiograph; the text ends with what to do."""


def refuse_picture(path: Path, head: bytes, most: int, max_pixels: int) -> None:
    """
    Args:
        head: the first 132 bytes of the file.
        most: bytes of the file.

    Raises:
        Refused: the file is larger, a WebP claims more pixels, or a PNG has a text chunk that no image needs.
    """
    refuse_large_file(path, most)
    width, height = _webp_size(head)
    if width * height > max_pixels:
        raise Refused(too_large(f"{width} x {height}", max_pixels))
    if head.startswith(PNG):
        with path.open("rb") as file:
            _refuse_chunks(file, os.stat(path).st_size)


def too_large(size: str, max_pixels: int = MAX_PIXELS) -> str:
    """What is wrong with an image of so many pixels."""
    return (
        f"its header claims {size} pixels; at most {max_pixels:,} are read. Shrink the image, raise data.max_pixels or "
        "replace the file."
    )


def refuse_strip(width: int, height: int) -> None:
    """
    Raises:
        Refused: a strip and no radiograph, which no student's processor takes.
    """
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Refused(
            f"it is {width:,} x {height:,} pixels; at most {MAX_ASPECT} times as long as wide is read. It is no "
            "radiograph: replace the file, or take its row out of the table."
        )


def refuse_large_file(path: str | Path, most: int) -> None:
    """
    Raises:
        Refused: the file is larger than ``most`` bytes.
    """
    size = os.stat(path).st_size
    if size > most:
        raise Refused(
            f"the file has {size:,} bytes; at most {most:,} are read. Shrink the image, or raise data.max_pixels."
        )


def _refuse_chunks(file: BinaryIO, size: int) -> None:
    """Pillow reads a chunk whole before it looks at it."""
    place = len(PNG)
    for _ in range(MAX_PNG_CHUNKS):
        file.seek(place)
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        if kind in (b"", b"IEND") or place > size:
            return
        if length > MAX_PNG_TEXT and kind not in (b"IDAT", b"fdAT"):
            name = kind.decode("latin-1")
            raise Refused(f"its chunk {name!r} claims {length:,} bytes; at most {MAX_PNG_TEXT:,} are read. {AGAIN}")
        place += length + 12
    raise Refused(f"has more than {MAX_PNG_CHUNKS:,} chunks. {AGAIN}")


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height of a WebP, (0, 0) of another file."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return 0, 0
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
