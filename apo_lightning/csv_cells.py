"""CSV that a spreadsheet shows and does not run: a cell that it would take for a formula begins with an apostrophe.

Labels, ids and texts come from files; ``=HYPERLINK(...)`` in one of them would be computed by whoever opens the table.
Numbers stay numbers, and what is read back is what was written.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from apo_lightning.files import write_text

FORMULA = re.compile(r"'*[\s\x00-\x1f]*[=+\-@|%\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n\x00]")
"""Beginnings that some spreadsheet computes, also behind blanks or in full width; and the same behind apostrophes, so
that `unquoted` takes away no more than `quoted` has put."""
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


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


def write(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> Path:
    """A table; without ``head`` it has no line of names.

    Raises:
        Unwritten, DataError: see `files.write_text`.
    """
    out = io.StringIO()
    lines = [head] if head else []
    csv.writer(out, delimiter=delimiter).writerows([*lines, *(map(quoted, row) for row in rows)])
    return write_text(path, out.getvalue())
