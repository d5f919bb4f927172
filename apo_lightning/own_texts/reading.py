"""A file or a folder of teachers' texts, each text with whatever may name its study."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from apo_lightning.errors import DataError
from apo_lightning.files.bounded import read_json
from apo_lightning.files.characters import HALF
from apo_lightning.files.jsonlines import loads, short
from apo_lightning.own_texts import names, rows, shapes
from apo_lightning.own_texts.shapes import Item
from apo_lightning.trajectories import records
from data_modules.tables import MISSING_ID, Faults, column_names, read_table

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".json", ".jsonl", ".ndjson")
MAX_FAULTS = 0.05
"""Share of the rows that may be of no use before a file is refused."""
IS_TEXT = 0.5
"""Share of the cells of a column with several words, from which on it holds texts."""


@dataclass(frozen=True, slots=True)
class Said:
    """One text of a file.

    Attributes:
        names: what may name its study, the surest first.
        teacher: as the file has it; empty where it names none.
        where: file and line, or item.
        t: its place in the stream, in [0, 1], where the file has one.
        prompt: name of the prompt that it answers; empty where the file has none.
    """

    names: tuple[str, ...]
    teacher: str
    text: str
    where: str
    t: float | None = None
    prompt: str = ""


@dataclass
class Texts:
    """What was read of a file or a folder.

    Attributes:
        said: its texts in order.
        used: ``study``, ``teacher`` and ``text`` to the columns that they came from.
        aside: columns that were not read.
        without: rows without a text.
        faults: rows that cannot be used: where, why.
    """

    path: Path
    said: list[Said] = field(default_factory=list)
    used: dict[str, dict[str, None]] = field(default_factory=dict)
    aside: dict[str, None] = field(default_factory=dict)
    without: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)

    def teachers(self) -> list[str]:
        """Names of the teachers, in the order in which they first come; "" where texts have none."""
        return list(dict.fromkeys(one.teacher for one in self.said))


def read(path: str | Path, columns: Mapping[str, str] | None = None) -> Texts:
    """All texts of a file, or of the files of a folder. It is read once, and again when it changes.

    Args:
        path: CSV, Parquet, JSON or JSON lines; or a folder of them, whose files are named for their teachers.
        columns: some of ``names.KEYS`` to the column, or key, that it is.

    Raises:
        DataError: it cannot be read, has no texts, or more than ``MAX_FAULTS`` of its rows are of no use.
        ArtifactError: a run wrote it, and it is not what was written.
    """
    files = _files(Path(path))
    try:
        stamps = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    except OSError as error:
        raise records.unreadable(path, error) from None
    return _cached(str(path), tuple((columns or {}).items()), stamps)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if rows.suffix(file) in SUFFIXES and not file.name.startswith("."))
    if not found:
        raise DataError(
            f"Cannot read trajectories from {path}: a folder without a file that ends in {', '.join(SUFFIXES)}."
        )
    return found


@lru_cache(maxsize=8)
def _cached(path: str, columns: tuple[tuple[str, str], ...], stamps: tuple[tuple[str, int, int], ...]) -> Texts:
    reader = _Reader(Path(path), dict(columns))
    for file, *_ in stamps:
        reader.take(Path(file), Path(file).stem if len(stamps) > 1 or Path(path).is_dir() else "")
    return reader.result()


class _Reader:
    """Rows of files to texts."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self.found, self.columns = Texts(path), columns
        self.layouts: dict[tuple[str, ...], names.Layout] = {}
        self.cells: Counter[tuple[str, bool]] = Counter()
        """Cells of columns that may be a teacher's, those with several words apart."""
        self.wide: dict[str, str] = {}
        """Such columns to their teachers."""
        self.rows = 0

    def take(self, path: Path, stem: str) -> None:
        """All rows of one file; ``stem`` is the teacher where they name none."""
        before, every = len(self.found.said), self._items(path)
        first = next(every, None)
        if first is not None and rows.is_ms_swift(first.row, self.columns):
            every, first = rows.ms_swift_items(path, self.columns), None
        for item in every if first is None else chain([first], every):
            self.rows += 1
            self._row(item)
        mine = self.found.said[before:]
        if stem and not any(one.teacher for one in mine):
            self.found.said[before:] = [Said(o.names, stem, o.text, o.where, o.t, o.prompt) for o in mine]

    def result(self) -> Texts:
        """
        Raises:
            DataError: there are no texts, or too many rows are of no use.
        """
        found, narrow = self.found, [name for name in self.wide if not self._holds_texts(name)]
        found.aside |= dict.fromkeys(narrow)
        unread = {self.wide[name] for name in narrow}
        found.said = [one for one in found.said if one.teacher not in unread] if narrow else found.said
        for name in self.wide:
            if name not in narrow:
                found.used.setdefault("text", {})[name] = None
        if len(found.faults) > MAX_FAULTS * max(self.rows, 1):
            where, why = found.faults[0]
            raise DataError(f"{where}: {why} ({len(found.faults):,} of {self.rows:,} rows; the first is named).")
        if not found.said:
            raise DataError(self._nothing())
        return found

    def _holds_texts(self, name: str) -> bool:
        texts, words = self.cells[name, True], self.cells[name, False]
        return texts > 0 and texts >= IS_TEXT * (texts + words)

    def _nothing(self) -> str:
        seen = list(dict.fromkeys(name for columns in self.layouts for name in columns))
        return (
            f"{self.found.path} has no texts of teachers. It has: {', '.join(map(str, seen[:20])) or 'nothing'}. Say "
            "which is what, as columns={study: dicom_id, teacher: who, text: said}."
        )

    def _items(self, path: Path) -> Iterator[Item]:
        kind = rows.kind(path)
        if kind == "table":
            return self._table(path)
        return self._lines(path) if kind == "lines" else self._document(path)

    def _table(self, path: Path) -> Iterator[Item]:
        header, faults = [name for name in column_names(path) if name], Faults()
        own = self._layout(tuple(header), str(path))
        wanted = [n for n in (*own.studies, own.teacher, own.text, *own.wide) if n] + rows.extras(header)
        table = read_table(path, {name: name for name in dict.fromkeys(wanted)}, faults)
        self.found.faults += faults
        self.rows += len(faults)
        place = table.columns.get_loc("where")
        heads = [name for name in table.columns if name != "where"]
        for row in table.itertuples(index=False, name=None):
            cells = [cell for at, cell in enumerate(row) if at != place]
            yield Item(row[place], dict(zip(heads, cells, strict=True)))

    def _lines(self, path: Path) -> Iterator[Item]:
        for number, line in rows.numbered(path):
            where = f"{path}:{number}"
            try:
                row = loads(line)
                row = records.parse(line) if not isinstance(row, dict) or rows.is_own(row) else row
            except json.JSONDecodeError as error:
                text = f"not JSON ({error.msg} at column {error.colno}). One line is one JSON object."
                raise DataError(f"{where}: {text}") from None
            except ValueError as error:
                raise DataError(f"{where}: {error}") from None
            yield Item(where, row)

    def _document(self, path: Path) -> Iterator[Item]:
        try:
            yield from shapes.items(read_json(path), path.name)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno}).") from None
        except ValueError as error:
            raise DataError(f"{path}: {error}.") from None
        except OSError as error:
            raise records.unreadable(path, error) from None

    def _layout(self, columns: tuple[str, ...], where: str) -> names.Layout:
        if columns not in self.layouts:
            try:
                self.layouts[columns] = names.layout(columns, self.columns)
            except DataError as error:
                raise DataError(f"{where}: {error}") from None
            self.found.aside |= dict.fromkeys(name for name in self.layouts[columns].aside if name)
        return self.layouts[columns]

    def _row(self, item: Item) -> None:
        row, own = item.row, self._layout(tuple(item.row), item.where)
        about = [shapes.name_of(row.get(name)) for name in own.studies]
        about = [name for name in ((item.study or ""), *about) if name and name.casefold() not in MISSING_ID]
        if not about:
            self.found.faults.append((item.where, f"names no study or image; it has {short(list(row))}"))
            return
        if any(HALF.search(name) for name in about):
            raise DataError(f"{item.where}: 'study' holds half a character (a lone surrogate): {short(about[0])}.")
        self._use("study", own.studies)
        place, prompt = rows.place(row), rows.prompt(row)
        for teacher, text in self._texts(item, own):
            if text is None:
                self.found.without += 1
            else:
                self.found.said.append(Said(tuple(about), teacher, text, item.where, place, prompt))

    def _texts(self, item: Item, own: names.Layout) -> Iterator[tuple[str, str | None]]:
        row, teacher = item.row, item.teacher or ""
        if own.teacher and (given := shapes.name_of(row.get(own.teacher))):
            teacher = given
            self._use("teacher", (own.teacher,))
        if own.texts and isinstance(row.get(own.texts), list | dict):
            self._use("text", (own.texts,))
            yield from rows.several(row[own.texts])
            return
        if (key := own.text or own.texts) is not None:
            self._use("text", (key,))
            value = row.get(key)
            many = isinstance(value, dict) and shapes.words_of(value) is None and not teacher
            if many:
                yield from ((name, rows.cleaned(shapes.words_of(text))) for name, text in value.items())
            else:
                yield teacher or shapes.model_of(value) or "", rows.text_of(value, key, row)
        elif item.teacher:
            yield teacher, rows.text_of(row, "", row)
        elif not own.wide:
            self.found.faults.append((item.where, f"has no text; it has {short(list(row))}"))
        yield from self._wide(row, own)

    def _wide(self, row: Mapping[str, Any], own: names.Layout) -> Iterator[tuple[str, str | None]]:
        for name in own.wide:
            text = rows.cleaned(row.get(name)) if isinstance(row.get(name), str) else None
            if text is None:
                if name not in self.wide:
                    self.found.aside.setdefault(name)
                continue
            self.found.aside.pop(name, None)
            self.wide.setdefault(name, names.teacher_of(name))
            self.cells[name, len(text.split()) > 1] += 1
            yield self.wide[name], text

    def _use(self, what: str, columns: tuple[str, ...]) -> None:
        self.found.used.setdefault(what, {}).update(dict.fromkeys(columns))
