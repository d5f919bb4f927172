"""report.csv: all that is printed in the tables, one row an arm, teacher or baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from apo_lightning.files.formats import write_csv
from apo_lightning.reports.groups import Group
from apo_lightning.reports.measured import Results
from apo_lightning.reports.table import wide


def write(path: Path, results: Results, groups: Sequence[Group]) -> Path:
    """Label, seeds, then for every printed column its value, the ends of its interval, and its marks (``*``, ``**``,
    ``best``, ``too small``)."""
    table = wide(results)
    columns = list(dict.fromkeys(column.key for group in groups for column in group.columns))
    marks = _marks(groups)
    head = ["kind", "arm", "label", "seeds"]
    for key in columns:
        head += [key, f"{key} low", f"{key} high", f"{key} mark"]
    lines = [_line(place, row, columns, marks) for place, row in table.iterrows()]
    return write_csv(path, head, lines)


def _line(place: Any, row: pd.Series, columns: Sequence[str], marks: dict[tuple, str]) -> list[Any]:
    cells: list[Any] = [*place, row["label"], row["seeds"]]
    for key in columns:
        numbers = [row.get(name) for name in (key, f"{key} low", f"{key} high")]
        cells += ["" if pd.isna(number) else repr(float(number)) for number in numbers]
        cells.append(marks.get((*place, key), ""))
    return cells


def _marks(groups: Sequence[Group]) -> dict[tuple, str]:
    found = {}
    for group in groups:
        for row in (row for _, rows in group.sections for row in rows):
            for column, cell in zip(group.columns, row.cells, strict=True):
                said = [cell.mark, "best" if cell.bold else "", "too small" if cell.small else ""]
                found[row.kind, row.arm, column.key] = " ".join(word for word in said if word)
    return found
