"""Opening files that may be gzipped, by what they claim and by what comes out of them, so that neither a small archive
nor a sparse file can fill the memory."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from apo_lightning.errors import DataError
from apo_lightning.files import jsonlines
from apo_lightning.files.limits import MAX_JSON_BYTES, MAX_JSON_VALUES, MAX_LINE, MAX_RATIO, RATIO_FROM

WAY_OUT = "Fetch the file again, or split it."


def open_bytes(path: Path, most: int) -> BinaryIO:
    """The content of a file, inflated where its name ends in ``.gz``, ``most`` bytes of it.

    Raises:
        DataError: it is larger: at once, or where it is gzipped as soon as so much, or ``MAX_RATIO`` times what went
            in, has come out. A gzip file states its length where it ends, but one that was cut off states anything.
        OSError: it cannot be opened.
    """
    if is_gzip(path):
        return io.BufferedReader(_Inflated(path, most))
    size = os.stat(path).st_size
    if size > most:
        raise DataError(f"{path}: has {size:,} bytes; at most {most:,} are read. {WAY_OUT}")
    return path.open("rb")


def is_gzip(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in (".gz", ".tgz")


def open_text(path: Path, encoding: str, most: int) -> TextIO:
    """The same as text, its line ends as they are."""
    return io.TextIOWrapper(open_bytes(path, most), encoding=encoding, newline="")


def text_lines(path: Path, encoding: str, most: int) -> Iterator[str]:
    """Its lines.

    Raises:
        DataError: one has more than ``MAX_LINE`` characters; and as ``open_bytes``.
    """
    number = 0
    with open_text(path, encoding, most) as file:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise long_line(path, number)
            yield line


def long_line(path: Path, number: int) -> DataError:
    return DataError(
        f"{path}:{number}: the line has more than {MAX_LINE:,} characters, which is all that is read of one. Is it a "
        "text table? Fetch the file again or correct the line."
    )


def read_json(path: Path) -> Any:
    """One JSON document in Unicode, perhaps with a byte-order mark, no object of which names a key twice.

    Raises:
        DataError: it is larger than ``MAX_JSON_BYTES``, or has more than ``MAX_JSON_VALUES``.
        ValueError: it is no JSON; says what it is, or the line.
        OSError: it cannot be read.
    """
    with open_bytes(path, MAX_JSON_BYTES) as file:
        raw = file.read()
    refuse_many_values(path, raw)
    return jsonlines.document(raw)


def refuse_many_values(path: Path, raw: bytes) -> None:
    """
    Raises:
        DataError: a document has more than ``MAX_JSON_VALUES`` brackets and commas.
    """
    count = sum(map(raw.count, (b"[", b"{", b",")))
    if count > MAX_JSON_VALUES:
        raise DataError(f"{path}: holds some {count:,} JSON values; at most {MAX_JSON_VALUES:,} are read. {WAY_OUT}")


class _Inflated(io.RawIOBase):
    """A gzip file that refuses to give more than ``most`` bytes, or ``MAX_RATIO`` times what it takes."""

    def __init__(self, path: Path, most: int) -> None:
        self.path, self.most, self.given = path, most, 0
        self.outer = path.open("rb")
        self.inner = gzip.GzipFile(fileobj=self.outer)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self.inner.readinto(buffer)
        self.given += count
        taken = self.outer.tell()
        if self.given > self.most or self.given > max(RATIO_FROM, MAX_RATIO * taken):
            raise DataError(
                f"{self.path}: its first {taken:,} bytes inflate to more than {self.given - count:,}; at most "
                f"{self.most:,}, and {MAX_RATIO} times its own size, are read. {WAY_OUT}"
            )
        return count

    def close(self) -> None:
        self.inner.close()
        self.outer.close()
        super().close()
