"""Reading tables: any separator and encoding, columns by name, labels, ids, and rows that cannot be used."""

from __future__ import annotations

from data_modules.tables.faults import Faults
from data_modules.tables.reading import (
    MISSING_ID,
    UNREADABLE,
    as_numbers,
    column_names,
    find,
    look_for,
    numbers,
    read_table,
    require_index,
)

__all__ = [
    "MISSING_ID",
    "UNREADABLE",
    "Faults",
    "as_numbers",
    "column_names",
    "find",
    "look_for",
    "numbers",
    "read_table",
    "require_index",
]
