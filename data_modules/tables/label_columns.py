"""Labels of a table in either of two forms: a column a finding with 1, 0 and -1, or one column that lists names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.findings import CHEXPERT, NIH, NO_FINDING, canonical
from data_modules.tables import MISSING_ID, Faults, numbers
from data_modules.tables.labels import as_findings, settle

KNOWN = frozenset((*CHEXPERT, *NIH))
"""Names by which a column is taken for a finding where the settings name none."""
WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "present", "positive", "pos"), "1"),
    **dict.fromkeys(("false", "f", "no", "n", "absent", "negative", "neg"), "0"),
    **dict.fromkeys(("uncertain", "possible", "equivocal"), "-1"),
    **dict.fromkeys((*MISSING_ID, "unknown"), ""),
}
"""Cells, in lower case, that stand for a number or for none."""


def finding_columns(names: Iterable[str], path: Path) -> dict[str, str]:
    """Column to finding, of the columns of a table that bear a finding's name.

    Raises:
        DataError: two of them name one finding.
    """
    found: dict[str, str] = {}
    for name in names:
        finding = canonical(name)
        if finding not in KNOWN:
            continue
        other = next((held for held, known in found.items() if known == finding), None)
        if other is not None:
            raise DataError(
                f"{path}: the columns '{other}' and '{name}' both name the finding '{finding}'. Say in "
                "data.findings_columns which one is meant, or give the other another name."
            )
        found[name] = finding
    return found


def by_column(
    rows: pd.DataFrame, columns: Mapping[str, str], faults: Faults, *, uncertain: str, unmentioned: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels of columns with 1, 0, -1 (uncertain) or an empty cell, or one of ``WORDS`` (yes, absent, positive, ...).

    Args:
        rows: as `read_table` gives them.
        columns: name in ``rows`` to finding.
        faults: takes rows with another value.
        uncertain, unmentioned: see ``labels.settle``.

    Returns:
        the rows that are left, and their labels: one column per finding, 1, 0 or NaN.
    """
    said = {name: rows[name].str.strip().str.lower() for name in columns}
    plain = {name: rows[name].where(~words.isin(WORDS), words.map(WORDS)) for name, words in said.items()}
    raw = numbers(rows.assign(**plain), columns, (1, 0, -1), faults)
    labels = raw[list(columns)].astype(float).rename(columns=dict(columns))
    return rows.loc[raw.index], settle(labels, uncertain=uncertain, unmentioned=unmentioned)


def by_list(
    rows: pd.DataFrame,
    column: str,
    faults: Faults,
    *,
    separator: str,
    names: Mapping[str, str],
    unlabelled: Collection[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels of a column that lists names: 1 for those in the cell, 0 for all others that the file has.

    Args:
        rows: as `read_table` gives them.
        column: its name in ``rows``.
        faults: takes rows that say "No Finding" beside a finding.
        separator: parts the names of a cell.
        names: label to the name that it stands for.
        unlabelled: labels that say nothing, in any case.

    Returns:
        the rows that are left, and their labels: one column per finding, 1, 0, or NaN in a cell without a label.

    Raises:
        DataError: a label has no letter or digit of which a name could be made.
    """
    silent = {word.lower() for word in unlabelled} | MISSING_ID
    cells = {cell: _named(cell, separator, names, silent) for cell in rows[column].unique()}
    mixed = {cell for cell, found in cells.items() if NO_FINDING in found and len(found) > 1}
    rows = faults.drop(rows, rows[column].isin(mixed), "says that there is no finding, and names one", column)
    known = sorted(set().union(*(cells[cell] for cell in rows[column].unique())) - {NO_FINDING})
    table = {cell: [float(name in found) if found else np.nan for name in known] for cell, found in cells.items()}
    labels = pd.DataFrame.from_dict(table, orient="index", columns=known, dtype=float)
    return rows, labels.loc[rows[column]].set_axis(rows.index)


def _named(cell: str, separator: str, names: Mapping[str, str], silent: Collection[str]) -> frozenset[str]:
    said = (names.get(label, label) for label in map(str.strip, cell.split(separator)))
    found = {label: canonical(label) for label in said if label.lower() not in silent}
    nameless = next((label for label, name in found.items() if not name), None)
    if nameless is not None:
        raise DataError(f"Label '{nameless}' has no letter of a to z or digit. Give it a name in data.label_map.")
    return frozenset(found.values())


def merge(labels: pd.DataFrame, studies: pd.Series) -> tuple[pd.DataFrame, int]:
    """Labels by study, and the number of studies whose rows differ: 1 where any row has it, else 0 where any has that.

    Args:
        labels: one column per finding, 1, 0 or NaN.
        studies: study of each row, by the same index.
    """
    if studies.is_unique:
        return labels.set_axis(studies), 0
    grouped = labels.groupby(studies, sort=False)
    most = grouped.max()
    return most, int((most != grouped.min()).where(most.notna(), False).any(axis=1).sum())


def shared(labels: pd.DataFrame) -> list[dict[str, float]]:
    """One dictionary per row; rows with equal labels have the same one."""
    group = labels.groupby(list(labels.columns), dropna=False, sort=False).ngroup()
    held = as_findings(labels[~group.duplicated().to_numpy()].set_axis(group.unique()))
    return [held[number] for number in group]
