"""What a file is by its first bytes, where it is not the text that its name promises."""

from __future__ import annotations

import re

_WEB = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml\b", re.IGNORECASE)
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook (.xlsx); unpack it, or export it as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls); export it as CSV in UTF-8"),
    (b"\x1f\x8b", "gzipped; give it a name that ends in .gz, or unpack it"),
    (b"BZh", "packed by bzip2; unpack it"),
    (b"\xfd7zXZ\0", "packed by xz; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd; unpack it"),
    (b"PAR1", "a Parquet file; give it a name that ends in .parquet"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"version https://git-lfs.github.com", "a Git LFS pointer; fetch the file itself by 'git lfs pull'"),
)


def foreign(head: bytes) -> str | None:
    """What a file that begins so is, and perhaps what to do about it; None where it may be text.

    >>> foreign(b"<!DOCTYPE html><html>"), foreign(b"id,report")
    ('a web page, perhaps of an error or a login', None)
    """
    if _WEB.match(head):
        return "a web page, perhaps of an error or a login"
    if _XML.match(head):
        return "XML, perhaps of an error"
    return next((what for start, what in _STARTS if head.startswith(start)), None)
