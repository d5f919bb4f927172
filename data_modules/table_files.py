"""Table files as they lie on disk: opened within limits, looked through once, unreadable ones named."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.limits import MAX_LINE, MAX_RATIO, MAX_ROWS, MAX_TABLE_BYTES, RATIO_FROM
from data_modules.bounded import long_line, open_text

UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
"""What reading a damaged file raises; pandas' and pyarrow's own errors are among them."""
BATCH = 512
"""Rows of a Parquet file that are decoded at a time."""


@dataclass(frozen=True)
class TextFile:
    """A text file: its encoding, how many lines it has, and whether there is a quote in it."""

    encoding: str
    lines: int = 0
    quoted: bool = False


def scan(path: Path) -> TextFile:
    """Look at a whole file: UTF-8 if it is, else latin-1, in which everything can be read."""
    if path.suffix == ".parquet":
        return TextFile("")
    for encoding in ("utf-8-sig", "latin-1"):
        lines, quoted, last, line = 0, False, "\n", 0
        try:
            with open_table(path, encoding) as file:
                while part := file.read(1 << 20):
                    line = len(part) - 1 - end if (end := _line_end(part)) >= 0 else line + len(part)
                    if line > MAX_LINE:
                        raise long_line(path, lines + part.count("\n") + 1)
                    lines, quoted, last = lines + part.count("\n"), quoted or '"' in part, part[-1]
        except UnicodeDecodeError:
            continue
        except UNREADABLE as error:
            raise unreadable(path, error) from error
        return TextFile(encoding, lines + (last != "\n"), quoted)
    raise AssertionError("latin-1 reads everything")


def read_parquet(path: Path, wanted: list[str]) -> pd.DataFrame:
    """Piece by piece: run lengths and dictionaries can claim any size in a few bytes."""
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        count = file.metadata.num_rows
        if count > MAX_ROWS:
            raise DataError(f"{path}: claims {count:,} rows; at most {MAX_ROWS:,} are read. Split the table.")
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


def open_table(path: Path, encoding: str) -> TextIO:
    return open_text(path, encoding, MAX_TABLE_BYTES)


def _line_end(text: str) -> int:
    return max(text.rfind("\n"), text.rfind("\r"))


def unreadable(path: Path, error: Exception | str) -> DataError:
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"{path}: cannot be read as a table ({reason}). Fetch the file again or correct its path.")
