"""Rows of tables and files that cannot be used, each with its place and the reason."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from apo_lightning.errors import DataError


class Faults(list[tuple[str, str]]):
    """Rows and files that cannot be used: (where, why)."""

    def __init__(self, faults: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(faults)
        self.headers: dict[str, dict[str, str]] = {}
        """File name to what its columns are called there, by their names in the frame."""

    def called(self, where: str, column: str) -> str:
        """What a column of a frame is called in the file that ``where`` names; "" where it was made of others."""
        return self.headers.get(where.rpartition(":")[0], {}).get(column, "")

    def drop(self, rows: pd.DataFrame, wrong: pd.Series, why: str, column: str | None = None) -> pd.DataFrame:
        """``rows`` without the wrong ones, which are noted under their file and line.

        Args:
            rows: a frame that `read_table` made.
            wrong: bool, one a row.
            why: the reason; the value in ``column`` and its name in the file are put behind it.

        Raises:
            DataError: no row is left; the first reason is said, which a later error would hide.
        """
        if not wrong.any():
            return rows
        places, values = rows["where"][wrong], rows[column or "where"][wrong]
        name = self.called(places.iloc[0], column) if column else ""
        place_too = f" in column '{name}'" if name and f"'{name}'" not in why else ""
        self += [
            (place, f"{why} ({value!r}){place_too}" if column else why)
            for place, value in zip(places, values, strict=True)
        ]
        if wrong.all():
            raise self.nothing_left(len(rows))
        return rows[~wrong]

    def nothing_left(self, count: int) -> DataError:
        """What to say where the last ``count`` faults are all rows that there were."""
        where, why = self[-count]
        return DataError(
            f"{where}: {why}. None of the {count:,} rows can be used; this is the first. Correct the table, or fetch "
            "it again."
        )
