"""JSON, YAML and CSV as this project writes them, whole or not at all; JSON lines are in `jsonlines`.

CSV is written so that a spreadsheet shows it and does not run it: a cell that it would take for a formula begins with
an apostrophe. Labels, ids and texts come from files; ``=HYPERLINK(...)`` in one of them would be computed by whoever
opens the table. Numbers stay numbers, and what is read back is what was written.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from apo_lightning.errors import ArtifactError
from apo_lightning.files.atomic import write_text
from apo_lightning.files.jsonlines import again, plain

FORMULA = re.compile(r"'*[\s\x00-\x1f]*[=+\-@|%\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n\x00]")
"""Beginnings that some spreadsheet computes, also behind blanks or in full width; and the same behind apostrophes, so
that `unquoted` takes away no more than `quoted` has put."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def write_json(path: Path, content: Any) -> Path:
    """``content`` as JSON; what JSON does not know (NaN) is null."""
    return write_text(path, json.dumps(plain(content), indent=2, default=str) + "\n")


def read_json(path: Path) -> Any:
    """A JSON file that this project wrote.

    Raises:
        ArtifactError: it is missing or damaged; the message says what to remove.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        what = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path} is missing or damaged ({what}). {again(path.parent)}") from error


def write_yaml(path: Path, content: Mapping[str, Any]) -> Path:
    """``content`` as YAML of plain containers; what JSON does not know is a text."""
    return write_text(path, yaml.safe_dump(json.loads(json.dumps(content, default=str))))


def quoted(cell: Any) -> Any:
    """A cell as it is written.

    >>> quoted("=1+1"), quoted("-0.5"), quoted(-0.5), quoted("- no edema")
    ("'=1+1", '-0.5', -0.5, "'- no edema")
    """
    formula = isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell)
    return f"'{cell}" if formula else cell


def unquoted(cell: Any) -> Any:
    """What `quoted` was given.

    >>> unquoted("'=1+1"), unquoted("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and FORMULA.match(cell[1:]) else cell


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> Path:
    """A table; without ``head`` it has no line of names.

    Raises:
        Unwritten, DataError: see `files.write_text`.
    """
    out = io.StringIO()
    lines = [head] if head else []
    csv.writer(out, delimiter=delimiter).writerows([*lines, *(map(quoted, row) for row in rows)])
    return write_text(path, out.getvalue())
