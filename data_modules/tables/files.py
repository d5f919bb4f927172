"""Table files as they lie on disk: opened within limits, looked through once, unreadable ones named."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.files.bounded import is_gzip, long_line, open_bytes, open_text
from apo_lightning.files.kinds import foreign
from apo_lightning.files.limits import MAX_LINE, MAX_RATIO, MAX_ROWS, MAX_TABLE_BYTES, RATIO_FROM

UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
"""What reading a damaged file raises; pandas' and pyarrow's own errors are among them."""
BATCH = 512
"""Rows of a Parquet file that are decoded at a time."""
WESTERN = "cp1252"
"""What a text that is no Unicode is taken for: latin-1 with the quotes and dashes of Windows."""
SAVE = "Save it as CSV in UTF-8."
_HIGH = re.compile(r"[^\x00-\x7f]+")
_UTF_8 = re.compile(r"[\xc2-\xdf][\x80-\xbf]")


@dataclass(frozen=True)
class TextFile:
    """A text file: its encoding, how many lines it has, and whether there is a quote in it."""

    encoding: str
    lines: int = 0
    quoted: bool = False


def scan(path: Path) -> TextFile:
    """Look at a whole file: Unicode (UTF-8, UTF-16, UTF-32, with or without a mark), else Western letters (cp1252).

    Raises:
        DataError: it is no text, is in another encoding, or holds NUL characters; names the line.
    """
    if is_parquet(path):
        return TextFile("")
    try:
        encoding = json.detect_encoding(_head(path))
        if encoding.startswith("utf-8"):
            encoding = "utf-8-sig"
        try:
            return _scan(path, encoding)
        except UnicodeDecodeError:
            if encoding != "utf-8-sig":
                raise _no_text(path, f"it is not {encoding.upper()} to its end; is it cut off?") from None
        return _scan(path, WESTERN)
    except UnicodeDecodeError:
        raise _no_text(path, "it is neither UTF-8 nor Western text") from None
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _head(path: Path) -> bytes:
    """
    Raises:
        DataError: the file is of a kind that is no text.
    """
    if is_gzip(path):
        with path.open("rb") as file:
            start = file.read(512)
        if start[:2] != b"\x1f\x8b" and start:
            what = foreign(start) or "Not a gzipped file, though its name ends in .gz; take that off"
            raise unreadable(path, what if what.startswith("Not") else f"it is {what}")
    with open_bytes(path, MAX_TABLE_BYTES) as file:
        head = file.read(4096)
    if what := foreign(head):
        raise unreadable(path, f"it is {what}")
    return head


def _scan(path: Path, encoding: str) -> TextFile:
    """
    Raises:
        UnicodeDecodeError: another encoding, or one that only looks like Western letters.
    """
    lines, quoted, last, line = 0, False, "\n", 0
    strange = runs = 0
    for part in _parts(path, encoding):
        if "\0" in part:
            number = lines + part.count("\n", 0, part.index("\0")) + 1
            raise _no_text(path, f"line {number} holds NUL characters: it is damaged, or no text")
        line = len(part) - 1 - end if (end := _line_end(part)) >= 0 else line + len(part)
        if line > MAX_LINE:
            raise long_line(path, lines + part.count("\n") + 1)
        if encoding == WESTERN:
            found = _HIGH.findall(part)
            runs += len(found)
            strange += sum(len(run) > 2 or _UTF_8.match(run) is not None for run in found)
        lines, quoted, last = lines + part.count("\n"), quoted or '"' in part, part[-1]
    if runs and 4 * strange >= runs:
        raise UnicodeDecodeError(encoding, b"", 0, 0, "words of no Western language")
    return TextFile(encoding, lines + (last != "\n"), quoted)


def _parts(path: Path, encoding: str) -> Iterator[str]:
    with open_table(path, encoding) as file:
        while part := file.read(1 << 20):
            yield part


def read_parquet(path: Path, wanted: list[str]) -> pd.DataFrame:
    """Piece by piece: run lengths and dictionaries can claim any size in a few bytes."""
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        count = file.metadata.num_rows
        if count > MAX_ROWS:
            raise DataError(f"{path}: claims {count:,} rows; at most {MAX_ROWS:,} are read. Split the table.")
        _refuse_nested(path, file.schema_arrow, wanted)
        groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
        claimed, allowed = sum(g.total_byte_size for g in groups), max(RATIO_FROM, MAX_RATIO * os.stat(path).st_size)
        if claimed > min(allowed, MAX_TABLE_BYTES):
            raise DataError(
                f"{path}: claims {claimed:,} bytes; at most {min(allowed, MAX_TABLE_BYTES):,} are read of a file of "
                "its size. Split the table."
            )
        parts, size = [], 0
        for part in file.iter_batches(BATCH, columns=wanted):
            parts.append(part)
            size += part.nbytes
            if size > MAX_TABLE_BYTES or part.nbytes > MAX_LINE * BATCH // 8:
                raise DataError(
                    f"{path}: {part.num_rows} rows hold {part.nbytes:,} bytes, {size:,} up to here; at most "
                    f"{MAX_TABLE_BYTES:,} are read. Split the table."
                )
        return pyarrow.Table.from_batches(parts, file.schema_arrow.empty_table().select(wanted).schema).to_pandas()


def _refuse_nested(path: Path, schema: object, wanted: list[str]) -> None:
    """Cells must be one word, number or truth: a list or bytes would become the words in which Python shows them."""
    import pyarrow.types as kinds

    for name in wanted:
        kind = schema.field(name).type  # type: ignore[attr-defined]
        held = kind.value_type if kinds.is_dictionary(kind) else kind
        if kinds.is_nested(held) or kinds.is_binary(held) or kinds.is_large_binary(held):
            raise DataError(
                f"{path}: column '{name}' holds {kind}, not one text or number per row. Write it as text, several "
                "values of a cell parted by '|'."
            )


def open_table(path: Path, encoding: str) -> TextIO:
    return open_text(path, encoding, MAX_TABLE_BYTES)


def _line_end(text: str) -> int:
    return max(text.rfind("\n"), text.rfind("\r"))


def _no_text(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: cannot be read as a table ({reason}). {SAVE}")


def unreadable(path: Path, error: Exception | str) -> DataError:
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"{path}: cannot be read as a table ({reason}). Fetch the file again or correct its path.")
