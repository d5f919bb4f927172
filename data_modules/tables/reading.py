"""Tables as users and archives have them: gzipped or not, any of three separators, Unicode with or without a byte-order
mark or Western letters, CSV or Parquet. Everything is read as text; rows that cannot be used are kept in ``Faults``.
"""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from apo_lightning.errors import AbsentError, DataError, did_you_mean
from apo_lightning.files.bounded import long_line
from apo_lightning.files.limits import MAX_CELL, MAX_COLUMNS
from data_modules.tables.faults import Faults
from data_modules.tables.files import UNREADABLE, TextFile, is_parquet, open_table, read_parquet, scan, unreadable
from data_modules.tables.headers import clean, refuse_doubles, refuse_lacking

SEPARATORS = ",;\t"
MISSING_ID = frozenset({"", "nan", "none", "null", "n/a", "na"})
"""What stands in an id cell that holds none, in lower case."""


def read_table(
    path: Path,
    columns: Mapping[str, str],
    faults: Faults,
    *,
    optional: Sequence[str] = (),
    ids: Sequence[str] = (),
    unique: Sequence[str] = (),
) -> pd.DataFrame:
    """Some columns of a table, as text without surrounding blanks, empty cells as "".

    Args:
        path: ``.csv``, ``.tsv``, ``.txt``, each perhaps ``.gz``, or ``.parquet``.
        columns: name in the file to name in the result. Several may map onto themselves.
        faults: takes rows with too many or too few cells, with text behind a closing quote, without
            an id, and repeated ones.
        optional: names in the file that may be absent; they are then absent from the result too.
        ids: names in the result that must not be empty.
        unique: names in the result that together must not repeat; the first row of equals is kept.

    Returns:
        one row per line in order, and a column ``where``: file and line, for messages.

    Raises:
        DataError: missing or unreadable file, no row that can be used, a column that is missing or under another
            spelling, with those that were found, or one that is there twice.
    """
    text = scan(path)
    found, separator = _header(path, text.encoding)
    refuse_doubles(path, found, columns)
    refuse_lacking(path, found, columns, optional)
    wanted = [name for name in columns if name in found]
    if not wanted:
        raise DataError(f"{path} has none of the columns {', '.join(columns)}. {did_you_mean('', found)}")
    faults.headers[path.name] = {columns[name]: name for name in wanted}
    before = len(faults)
    rows = _read(path, wanted, text, separator, faults)
    if not len(rows):
        raise faults.nothing_left(len(faults) - before) if len(faults) > before else _no_rows(path)
    rows = rows.rename(columns=dict(columns)).apply(lambda column: column.str.strip())
    rows["where"] = [f"{path.name}:{line}" for line in rows.index]
    for name in ids:
        empty = f"column '{faults.headers[path.name][name]}' is empty"
        rows = faults.drop(rows, rows[name].str.lower().isin(MISSING_ID), empty, name)
    if unique:
        rows = faults.drop(rows, rows.duplicated(list(unique)), "is listed before", unique[0])
    return rows.reset_index(drop=True)


def numbers(rows: pd.DataFrame, columns: Iterable[str], allowed: Iterable[float], faults: Faults) -> pd.DataFrame:
    """``rows`` with ``columns`` as float, "" as NaN; rows with another value than ``allowed`` are faults."""
    permitted = set(allowed)
    none = f"is none of {', '.join(f'{v:g}' for v in sorted(permitted))}, nor empty"
    for name in columns:
        values = as_numbers(rows[name])
        wrong = (rows[name] != "") & ~values.isin(permitted)
        called = (wrong.any() and faults.called(rows["where"].iloc[0], name)) or name
        rows = faults.drop(rows, wrong, f"'{called}' {none}", name)
        rows = rows.assign(**{name: values[~wrong]})
    return rows


def as_numbers(cells: pd.Series) -> pd.Series:
    """Cells as float; NaN where one is no finite number with a decimal point."""
    values = pd.to_numeric(cells, errors="coerce")
    return values.where(np.isfinite(values))


def column_names(path: Path) -> list[str]:
    """The columns that a table has, in order.

    Raises:
        DataError: it cannot be read.
    """
    return list(dict.fromkeys(_header(path, scan(path).encoding)[0]))


def find(folder: Path, names: Sequence[str], *, what: str = "", index: bool = False) -> Path:
    """The first of the names in the folder, plain or gzipped.

    Args:
        index: without it the set is not there at all.

    Raises:
        DataError: none is there; the message lists what was looked for. For an ``index`` it is an AbsentError.
    """
    found = look_for(folder, names)
    if found is None:
        raise (AbsentError if index else DataError)(
            f"{folder} has none of {', '.join(names)} (nor gzipped). "
            f"{what or 'Fetch it where the images come from, or correct data.root.'}"
        )
    return found


def require_index(path: Path) -> Path:
    """An index that a setting names.

    Raises:
        AbsentError: nothing is there.
    """
    if not os.path.lexists(path):
        raise AbsentError(str(unreadable(path, os.strerror(errno.ENOENT))))
    return path


def look_for(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of the names in the folder, plain or gzipped; None where none is.

    Raises:
        DataError: none is a file, but one is a folder or a link that leads nowhere, which is not the same as none.
    """
    tried = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
    found = next((path for path in tried if path.is_file()), None)
    odd = next((path for path in tried if os.path.lexists(path)), None)
    if found is None and odd is not None:
        what = "a folder" if odd.is_dir() else "a link that leads nowhere" if odd.is_symlink() else "no plain file"
        raise DataError(f"{odd} is {what}. Put the file in its place, or remove it.")
    return found


def _header(path: Path, encoding: str) -> tuple[list[str], str]:
    """Names of the columns, and what parts them."""
    try:
        if is_parquet(path):
            import pyarrow.parquet

            return _refuse_many(path, pyarrow.parquet.read_schema(path).names), ""
        with open_table(path, encoding) as file:
            line = next((line for line in file if not _is_blank(line)), "")
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if not line:
        raise DataError(f"{path}: cannot be read as a table (it is empty). Fetch the file again.")
    if len(line) > MAX_CELL:
        count = 1 + max(map(line.count, SEPARATORS))
        raise _many_columns(path, count) if count > MAX_COLUMNS else long_line(path, 1)
    mark = max(SEPARATORS, key=lambda mark: len(_cells(line, mark)))
    return [clean(cell) for cell in _refuse_many(path, _cells(line, mark))], mark


def _refuse_many(path: Path, names: list[str]) -> list[str]:
    if len(names) > MAX_COLUMNS:
        raise _many_columns(path, len(names))
    return names


def _many_columns(path: Path, count: int) -> DataError:
    return DataError(
        f"{path}: its header has {count:,} columns; at most {MAX_COLUMNS:,} are read. Is it a table with a row an "
        "image? Leave out the columns that are not needed."
    )


def _cells(line: str, separator: str) -> list[str]:
    csv.field_size_limit(MAX_CELL)
    return next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])


def _is_blank(text: str) -> bool:
    return not text.strip(f"{SEPARATORS} \r\n")


def _read(path: Path, wanted: list[str], text: TextFile, separator: str, faults: Faults) -> pd.DataFrame:
    """The wanted columns as text; the index is the line on which a row begins."""
    try:
        if is_parquet(path):
            rows = read_parquet(path, wanted)
            return pd.DataFrame({name: _as_text(rows[name]) for name in wanted}).set_axis(range(1, len(rows) + 1))
        rows = _read_plain(path, wanted, text, separator)
        if rows is not None:
            return rows
        with open_table(path, text.encoding) as file:
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
            lines, columns = _rows(reader, wanted, path, faults)
        return pd.DataFrame(columns, index=lines, dtype=str)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _read_plain(path: Path, wanted: list[str], text: TextFile, separator: str) -> pd.DataFrame | None:
    """The same by pyarrow, ten times as fast, for a file without quotes in which every line is a whole row; None for
    another file, whose rows have to be looked at one by one."""
    import pyarrow
    from pyarrow import csv as fast

    if text.quoted or text.encoding.startswith(("utf-16", "utf-32")):
        return None
    kept = fast.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pyarrow.string()))
    try:
        table = fast.read_csv(
            path,
            fast.ReadOptions(encoding=text.encoding.removesuffix("-sig")),
            fast.ParseOptions(delimiter=separator),
            kept,
        )
    except (pyarrow.ArrowInvalid, KeyError):
        return None
    rows = table.to_pandas()
    empty = rows[wanted[0]] == ""  # perhaps lines of separators, as spreadsheets leave them below
    if len(rows) + 1 != text.lines or (empty.any() and (rows[empty] == "").all(axis=1).any()):
        return None
    return rows.set_axis(range(2, len(rows) + 2))


def _rows(reader: Any, wanted: list[str], path: Path, faults: Faults) -> tuple[list[int], dict[str, list[str]]]:
    """Where each row below the header begins, and its cells by column. pandas' reader is not used because it shortens
    rows that are too long, swallows what follows a quote that is never closed, and counts rows instead of lines."""
    header = [clean(cell) for cell in next(row for row in reader if any(map(str.strip, row)))]
    places, width = [header.index(name) for name in wanted], len(header)
    named = max(place for place, name in enumerate(header, 1) if name)
    lines: list[int] = []
    columns: dict[str, list[str]] = {name: [] for name in wanted}
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return lines, columns
        except csv.Error as error:
            if "field limit" in str(error):
                raise DataError(
                    f"{path}:{line}: a cell of the row that begins here has more than {MAX_CELL:,} characters, which "
                    "is all that is read of one. Is a quote never closed? Correct or shorten it."
                ) from error
            if "expected after" not in str(error):
                raise unreadable(path, f"the quote opened on line {line} is never closed") from error
            faults.append((f"{path.name}:{line}", "text stands behind a closing quote"))
            continue
        if len(row) > width and any(row[width:]):
            faults.append((f"{path.name}:{line}", f"has {len(row)} cells, more than the {width} of the header"))
        elif not any(map(str.strip, row)):
            continue
        elif len(row) < named:  # whose last cells are lacking or whose others have moved: nobody can tell
            faults.append((f"{path.name}:{line}", f"has {len(row)} cells, fewer than the {width} of the header"))
        else:
            lines.append(line)
            for column, place in zip(columns.values(), places, strict=True):
                column.append(row[place])


def _no_rows(path: Path) -> DataError:
    return DataError(f"{path}: has a header, and no row below it. Fetch the file again, or remove it.")


def _as_text(column: pd.Series) -> pd.Series:
    """Cells as a CSV would have them: 3 and not 3.0 in a column of whole numbers with gaps. Those that are larger than
    a float of the column's kind can tell apart are written with the digits that it has."""
    if pd.api.types.is_float_dtype(column):
        kind = np.finfo(getattr(column.dtype, "numpy_dtype", column.dtype))
        cells = pd.Series(column.to_numpy(kind.dtype, na_value=np.nan), column.index)
        if (cells.dropna() % 1 == 0).all():
            rounded = cells.abs() >= 2 ** (kind.nmant + 1)
            text = cells.mask(rounded).astype("Int64").astype("string")
            column = text.mask(rounded, cells.map(lambda cell: f"{cell:.{kind.precision - 1}e}"))
    return column.astype("string").fillna("").astype(str)
