"""Odd tables: one clean table in every form in which exports, spreadsheets, downloads and hands leave it.

Each form makes the bytes of a file from the header and the rows of a clean one. A reader may read them as the clean
table, or refuse them; see ``odd_sets`` for what is asked of it.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ZERO_WIDTH, NO_BREAK, MARK = "\u200b", "\u00a0", "\ufeff"
WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head><body>Log in</body></html>\n"


@dataclass(frozen=True)
class Table:
    """A clean table.

    Attributes:
        wanted: columns that are read.
        optional: those of them that may be absent.
        ids: those whose cells must not be empty, and that do not repeat together.
    """

    header: list[str]
    rows: list[list[str]]
    wanted: tuple[str, ...]
    optional: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def column(self, name: str) -> int:
        return self.header.index(name)

    @property
    def needed(self) -> str:
        """A column without which the table is none."""
        return next(name for name in reversed(self.wanted) if name not in self.optional)

    def with_cell(self, row: int, name: str, value: str) -> Table:
        rows = [list(cells) for cells in self.rows]
        rows[row][self.column(name)] = value
        return replace(self, rows=rows)

    def with_column(self, name: str, values: Sequence[str] | str, at: int | None = None) -> Table:
        """One column more, at the end or in front of the column ``at``."""
        place = len(self.header) if at is None else at
        cells = [values] * len(self.rows) if isinstance(values, str) else values
        rows = [[*row[:place], cell, *row[place:]] for row, cell in zip(self.rows, cells, strict=True)]
        return replace(self, header=[*self.header[:place], name, *self.header[place:]], rows=rows)

    def renamed(self, old: str, new: str) -> Table:
        return replace(self, header=[new if name == old else name for name in self.header])


def text(table: Table, *, mark: str = ",", end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=mark, lineterminator=end, quoting=quoting)
    writer.writerow(table.header)
    writer.writerows(table.rows)
    return out.getvalue()


def read(content: bytes, wanted: Sequence[str], optional: Sequence[str] = (), ids: Sequence[str] = ()) -> Table:
    header, *rows = csv.reader(io.StringIO(content.decode()))
    return Table(header, rows, tuple(wanted), tuple(optional), tuple(ids))


@dataclass(frozen=True)
class Odd:
    """A form.

    Attributes:
        make: bytes of the file; None where the form is no file.
        raw: the bytes lie on the disk as they are, in a gzipped table too.
        said: what a refusal has to name beside the file.
        place: puts something else than a file where the table was.
    """

    make: Callable[[Table], bytes | None] = lambda table: None
    raw: bool = False
    said: Callable[[Table], tuple[str, ...]] = lambda table: ()
    place: Callable[[Path], None] | None = None


def _plain(change: Callable[[Table], Table], **how: object) -> Odd:
    return Odd(lambda table: text(change(table)).encode(), **how)  # type: ignore[arg-type]


def _encoded(encoding: str, before: bytes = b"") -> Odd:
    return Odd(lambda table: before + text(table).encode(encoding))


def _written(**how: object) -> Odd:
    return Odd(lambda table: text(table, **how).encode())  # type: ignore[arg-type]


def _edited(change: Callable[[str], str]) -> Odd:
    return Odd(lambda table: change(text(table)).encode())


def _bytes(change: Callable[[bytes], bytes], **how: object) -> Odd:
    return Odd(lambda table: change(text(table).encode()), **how)  # type: ignore[arg-type]


def _line(number: int, change: Callable[[str], str]) -> Odd:
    """One line changed; 0 is the header."""

    def edit(whole: str) -> str:
        lines = whole.splitlines()
        lines[number] = change(lines[number])
        return "\n".join(lines) + "\n"

    return _edited(edit)


def _inserted(number: int, line: str) -> Odd:
    return _edited(lambda whole: "\n".join([*(lines := whole.splitlines())[:number], line, *lines[number:]]) + "\n")


def _foreign(letters: bytes) -> Odd:
    """A column that is not read, with letters of another encoding in every row."""
    return _bytes(lambda plain: plain.replace(b"\n", b"," + letters + b"\n").replace(b"," + letters, b",remark", 1))


def _zipped(name: str) -> Callable[[Table], bytes]:
    def make(table: Table) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, text(table))
        return out.getvalue()

    return make


def _parquet(table: Table) -> bytes:
    import pandas as pd

    out = io.BytesIO()
    pd.DataFrame({"a": [1, 2]}).to_parquet(out)
    return out.getvalue()


def _double(named: Callable[[str], str], *, before: bool = False) -> Odd:
    """The last needed column twice, the values of the second shifted by one row."""

    def change(table: Table) -> Table:
        place = table.column(table.needed)
        values = [row[place] for row in table.rows]
        other = [*values[1:], values[0]] if len(set(values)) > 1 else ["0", *values[1:]]
        return table.with_column(named(table.needed), other, place if before else None)

    return _plain(change, said=lambda table: (table.needed,))


def _each_renamed(named: Callable[[str], str]) -> Odd:
    return _plain(lambda t: replace(t, header=[named(name) if name in t.wanted else name for name in t.header]))


def _optional_renamed(named: Callable[[str], str]) -> Odd:
    return _plain(lambda t: replace(t, header=[named(name) if name in t.optional else name for name in t.header]))


def _swapped(name: str) -> str:
    return name.translate(str.maketrans(" _", "_ ")) if set(name) & {" ", "_"} else f"{name}s"


def _cut(table: Table) -> Table:
    """Row 3 ends before the last needed cell."""
    rows = [list(row) for row in table.rows]
    rows[2] = rows[2][: table.column(table.needed)]
    return replace(table, rows=rows)


def _again(table: Table, **cells: str) -> Table:
    return replace(table, rows=[*table.rows, list(table.rows[2])])


def _contradicting(table: Table) -> Table:
    """Row 3 again, its other cells those of row 4 and 2."""
    same = {table.column(name) for name in table.ids}
    mixed = [c if i in same else table.rows[3][i] for i, c in enumerate(table.rows[2])]
    return replace(table, rows=[*table.rows, mixed])


def _without(table: Table) -> Table:
    place = table.column(table.needed)
    return replace(
        table,
        header=[*table.header[:place], *table.header[place + 1 :]],
        rows=[[*row[:place], *row[place + 1 :]] for row in table.rows],
    )


def _reversed(table: Table) -> Table:
    return replace(table, header=table.header[::-1], rows=[row[::-1] for row in table.rows])


def _instead(make: Callable[[Path], None]) -> Odd:
    return Odd(place=make)


def _needed(table: Table) -> tuple[str, ...]:
    return (table.needed,)


FORMS: dict[str, Odd] = {
    "as it is": _written(),
    "byte-order mark": _encoded("utf-8-sig"),
    "two byte-order marks": _encoded("utf-8-sig", b"\xef\xbb\xbf"),
    **{f"{name} with a mark": _encoded(name) for name in ("utf-16", "utf-32")},
    "utf-16-be with a mark": _encoded("utf-16-be", b"\xfe\xff"),
    "utf-32-be with a mark": _encoded("utf-32-be", b"\0\0\xfe\xff"),
    **{name: _encoded(name) for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-7")},
    "utf-16 cut inside a character": Odd(lambda t: text(t).encode("utf-16")[:-1]),
    "ebcdic": _encoded("cp037"),
    "crlf": _written(end="\r\n"),
    "cr": _written(end="\r"),
    "lf and cr": _edited(lambda s: s.replace("\n", "\n\r")),
    "crlf above, lf below": _edited(lambda s: s.replace("\n", "\r\n", 3)),
    "cr cr lf": _written(end="\r\r\n"),
    "no final newline": _edited(lambda s: s.rstrip("\n")),
    "blank lines between": _edited(lambda s: s.replace("\n", "\n\n")),
    "blank lines above": _edited(lambda s: "\n\n" + s),
    "lines of separators below": _edited(lambda s: s + ",,\n,,\n"),
    "semicolons": _written(mark=";"),
    "tabs": _written(mark="\t"),
    "pipes": _written(mark="|"),
    "blanks": _written(mark=" "),
    "colons": _written(mark=":"),
    "header of commas, rows of semicolons": _edited(
        lambda s: s.split("\n", 1)[0] + "\n" + s.split("\n", 1)[1].replace(",", ";")
    ),
    "all quoted": _written(quoting=csv.QUOTE_ALL),
    "every line quoted whole": _edited(
        lambda s: "".join('"' + line.replace('"', '""') + '"\n' for line in s.splitlines())
    ),
    "separator said in line 1": _edited(lambda s: "sep=,\n" + s),
    "latin-1 letters": _foreign("caf\u00e9 \u00e0 gauche".encode("latin-1")),
    "cp1252 letters": _foreign("\u201cclear\u201d \u2013 \u20ac".encode("cp1252")),
    "utf-8 letters": _foreign("\u201cclear\u201d \u00e9 \u80ba".encode()),
    "bytes of no encoding": _foreign(b"a\x81\x8d"),
    "gb18030 letters": _foreign("\u80ba\u90e8\u6e05\u6670".encode("gb18030")),
    "cyrillic letters": _foreign("\u043b\u0435\u0433\u043a\u0438\u0435".encode("cp1251")),
    "utf-8 with one damaged byte": _bytes(
        lambda b: b.replace(b"\n", b",\xc3\xa9pais\n").replace(b",\xc3\xa9pais", b",remark", 1)[:-4] + b"\xffs\n"
    ),
    "a NUL in a cell": _line(3, lambda s: s[:2] + "\0" + s[2:]),
    "a NUL in the header": _line(0, lambda s: s[:2] + "\0" + s[2:]),
    "NULs behind the end": _edited(lambda s: s + "\0" * 4096),
    "NULs alone": Odd(lambda t: bytes(4096), raw=True),
    "a hole of NULs": _edited(lambda s: s[:60] + "\0" * 100 + s[160:]),
    "control-Z at the end": _edited(lambda s: s + "\x1a"),
    "a quote that is never closed": _line(3, lambda s: s + ',"open'),
    "a quote in front of row 3": _line(3, lambda s: '"' + s),
    "a quote in front of the last row": _line(-1, lambda s: '"' + s),
    "text behind a closing quote": _line(3, lambda s: '"' + s.replace(",", '"x,', 1)),
    "empty": Odd(lambda t: b"", raw=True),
    "empty inside": Odd(lambda t: b""),
    "blank": Odd(lambda t: b"\n \n\n"),
    "header alone": _plain(lambda t: replace(t, rows=[])),
    "no header": _edited(lambda s: s.split("\n", 1)[1]),
    "header twice": _edited(lambda s: s.split("\n", 1)[0] + "\n" + s),
    "two exports joined": _edited(lambda s: s + s),
    "a title above": _edited(lambda s: "Export of today\n" + s),
    "a comment above": _edited(lambda s: "# made by hand\n" + s),
    "a sum below": _edited(lambda s: s + "Total,12\n"),
    "a rule below the header": _inserted(1, "---,---"),
    "a row of one cell": _inserted(4, "alone"),
    "too many cells": _line(3, lambda s: s + ",more,than,these"),
    "too many cells in all rows": _edited(lambda s: s.replace("\n", ",more\n").replace(",more", "", 1)),
    "too few cells": _plain(_cut),
    "too few cells in all rows": _plain(lambda t: replace(t, rows=[row[: t.column(t.needed)] for row in t.rows])),
    "cut off inside a row": Odd(
        lambda t: (
            "\n".join(text(t).splitlines()[:-1])
            + "\n"
            + text(replace(t, rows=[t.rows[-1][: t.column(t.needed)]])).splitlines()[-1][:-1]
        ).encode()
    ),
    "a header name too many": _line(0, lambda s: s + ",extra"),
    "an index in front": _plain(lambda t: t.with_column("", [str(n) for n in range(len(t.rows))], 0)),
    "columns in another order": _plain(_reversed),
    "a column without a name": _plain(lambda t: t.with_column("", "x")),
    "two columns without a name": _plain(lambda t: t.with_column("", "x").with_column(" ", "y")),
    "two columns of a name that is not read": _plain(lambda t: t.with_column("note", "x").with_column("note", "y")),
    "a name of 140,000 characters": _plain(lambda t: t.with_column("n" * 140_000, "x")),
    "a name of 1,500,000 characters": _plain(lambda t: t.with_column("n" * 1_500_000, "x")),
    "3,000 columns": Odd(
        lambda t: "".join(
            line + ("," + ",".join(f"c{n}" for n in range(3000)) if i == 0 else "," * 3000) + "\n"
            for i, line in enumerate(text(t).splitlines())
        ).encode()
    ),
    "6,000 columns": _line(0, lambda s: s + "," + ",".join(f"c{n}" for n in range(6000))),
    "a million columns": _line(0, lambda s: s + ",c" * 1_000_000),
    "a cell of 200,000 characters": _plain(
        lambda t: t.with_column("note", ["n" * 200_000, *["x"] * (len(t.rows) - 1)])
    ),
    "a cell of 1,500,000 characters": _plain(
        lambda t: t.with_column("note", ["n" * 1_500_000, *["x"] * (len(t.rows) - 1)])
    ),
    "gzipped under its own name": Odd(lambda t: gzip.compress(text(t).encode(), 1), raw=True),
    "gzipped twice": Odd(lambda t: gzip.compress(gzip.compress(text(t).encode(), 1), 1), raw=True),
    "gzip cut off": Odd(lambda t: gzip.compress(text(t).encode(), 1)[:-20], raw=True),
    "not gzipped under its own name": Odd(lambda t: text(t).encode(), raw=True),
    "a zip": Odd(_zipped("table.csv"), raw=True),
    "a workbook": Odd(_zipped("xl/worksheets/sheet1.xml"), raw=True),
    "a workbook of 1997": Odd(lambda t: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), raw=True),
    "a web page": Odd(lambda t: WEB_PAGE, raw=True),
    "a web page without a type": Odd(lambda t: b"\n  <HTML><body>" + WEB_PAGE, raw=True),
    "XML of an error": Odd(lambda t: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', raw=True),
    "a PDF": Odd(lambda t: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", raw=True),
    "a Parquet file": Odd(_parquet, raw=True),
    "JSON": Odd(lambda t: b'[{"a": 1}, {"a": 2}]\n', raw=True),
    "a JSON error": Odd(lambda t: b'{"error": "not found"}\n', raw=True),
    "a picture": Odd(lambda t: b"\x89PNG\r\n\x1a\n" + bytes(range(256)), raw=True),
    "a Git LFS pointer": Odd(lambda t: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", raw=True),
    "a folder": _instead(lambda p: p.mkdir()),
    "a link to nothing": _instead(lambda p: p.symlink_to("nothing")),
    "names with blanks": _each_renamed(lambda name: f" {name}  "),
    "names with zero-width marks": _each_renamed(lambda name: f"{ZERO_WIDTH}{name}{MARK}"),
    "names with blanks that do not break": _each_renamed(lambda name: name.replace(" ", NO_BREAK) + NO_BREAK),
    "names in upper case": _each_renamed(str.upper),
    "names in lower case": _each_renamed(str.lower),
    "names with blanks for underscores": _each_renamed(_swapped),
    "optional names in upper case": _optional_renamed(str.upper),
    "optional names with blanks for underscores": _optional_renamed(_swapped),
    "a name misspelt": _plain(lambda t: t.renamed(t.needed, t.needed + "x"), said=_needed),
    "a column missing": _plain(_without, said=_needed),
    "a column twice": _double(str),
    "a column twice, the other first": _double(str, before=True),
    "a column twice, in upper case": _double(str.upper, before=True),
    "a column twice, in lower case": _double(str.lower),
    "a column twice, with a blank": _double(lambda name: name + " ", before=True),
    "a column twice, with a zero-width mark": _double(lambda name: name[:1] + ZERO_WIDTH + name[1:], before=True),
    "a column twice, with a byte-order mark": _double(lambda name: MARK + name, before=True),
    "a column twice, with a blank that does not break": _double(lambda name: name + NO_BREAK),
    "a column twice, with a joiner": _double(lambda name: name + "\u2060"),
    "a column twice, with blanks inside": _double(lambda name: name.replace(" ", "  ") + "\t"),
    "a column twice, in full width": _double(lambda name: chr(ord(name[0]) + 0xFEE0) + name[1:]),
    "a column twice, as pandas writes it": _double(lambda name: name + ".1"),
    "a row twice": _plain(_again),
    "a row twice that contradicts": _plain(_contradicting),
    "a row twice in a row": _line(3, lambda s: s + "\n" + s),
}
"""Forms of any table with named columns."""
