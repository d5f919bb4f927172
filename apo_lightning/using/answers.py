"""Answers about a folder of images as a table: a row an image, a column a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from apo_lightning.errors import DataError
from apo_lightning.files.formats import write_csv
from apo_lightning.using.trained import Reply

COLUMNS = ("image", "answer", "kind", "cut", "error")


def row(image: Path, said: Reply | DataError, findings: Sequence[str]) -> dict[str, object]:
    """One line: 1 present, 0 absent, empty not stated. Of an image that could not be read, why."""
    if isinstance(said, DataError):
        return {"image": str(image), "answer": "", "kind": "", "cut": "", "error": str(said)}
    stated = {name: int(value) for name, value in said.findings.items() if value in (0, 1) and name in findings}
    return {"image": str(image), "answer": said.text, "kind": said.kind, "cut": int(said.cut), "error": "", **stated}


def write(path: Path, rows: Sequence[Mapping[str, object]], findings: Sequence[str]) -> None:
    """Whole or not at all; columns ``image, answer, kind, cut``, a finding each, ``error``.

    Raises:
        Unwritten: the disk did not take it.
    """
    columns = [*COLUMNS[:-1], *findings, COLUMNS[-1]]
    write_csv(path, columns, [[row.get(name, "") for name in columns] for row in rows])
