"""Which column of a user's table is what, and all that is wrong with table and settings in one message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.findings import canonical
from data_modules.archives.image_rows import usual
from data_modules.tables import Faults, column_names, read_table
from data_modules.tables.label_columns import by_column, finding_columns

EXPECTED = {"image": "image", "patient": "patient"}
"""Columns that a role has where the settings name none; else one with a usual name."""
ID = "id"
"""Column of study ids, used where there is one and ``study`` names no other."""
NO_LABELS = "no labels: no column is named like a finding (data.labels and data.findings_columns name others)"
Say = Callable[[str], None]


class _Several(DataError):
    """More than one complaint; ``texts`` are what they say."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__("\n".join([f"{len(texts)} things are wrong:", *(f"- {text}" for text in texts)]))
        self.texts = texts


def together(*looks: Callable[[], object]) -> None:
    """Let every look complain, and raise all complaints as one.

    Raises:
        DataError: that of the one look that complains, or one with a line for each.
    """
    found = dict[str, DataError]()
    for look in looks:
        try:
            look()
        except DataError as error:
            texts = error.texts if isinstance(error, _Several) else [str(error)]
            found |= {text: error for text in texts if text not in found}
    if len(found) == 1:
        raise next(iter(found.values()))
    if found:
        raise _Several(list(found))


def roles(path: Path, given: Mapping[str, str | None], held: Sequence[str], say: Say, *, alone: bool) -> dict[str, str]:
    """Role to column; ``patient`` may be absent where it is the default, ``study`` falls back on ``ID``.

    Args:
        path: of the table, for messages.
        given: role to the column that the settings name, or None.
        held: the columns of the table.
        say: takes what was found under a usual name.
        alone: patients are not asked for.

    Raises:
        DataError: columns that the settings name are not there, or several could be meant; all in one message.
    """
    named = {role: name for role, name in given.items() if name is not None}
    skipped = {"patient"} if alone else set[str]()
    expected = [role for role in EXPECTED if named.get(role) == EXPECTED[role] not in held and role not in skipped]
    others = [name for name in held if name not in named.values()]
    together(
        *(lambda role=role: _take_usual(path, role, named, others, say) for role in expected),
        *(lambda role=role: _require(path, role, named, held) for role in list(named)),
    )
    return named if "study" in named or ID not in held else {**named, "study": ID}


def _take_usual(path: Path, role: str, named: dict[str, str], others: Sequence[str], say: Say) -> None:
    """Where the settings name none and the expected one is absent, the column with a usual name; it is told."""
    try:
        own = usual(path, role, others)
    except DataError:
        named.pop(role)  # its complaint says more than that the expected one is absent
        raise
    if own is not None:
        named[role] = own
        say(f"{role}: the column '{own}' (data.{role} names another)")


def _require(path: Path, role: str, named: dict[str, str], held: Sequence[str]) -> None:
    name = named.get(role, "")
    if role == "patient" and name == EXPECTED[role] and name not in held:
        del named[role]
    elif role in named and name not in held:
        raise DataError(f"data.{role}: {path} has no column '{name}'. {did_you_mean(name, held)}")


def label_columns(path: Path, given: Mapping[str, str], listed: bool, held: Sequence[str], say: Say) -> dict[str, str]:
    """Column to finding.

    Args:
        path: of the table, for messages.
        given: the same as the settings name them.
        listed: whether another column lists the findings by name.
        held: columns that have no role.
        say: takes what was found by name.

    Raises:
        DataError: columns that the settings name are not there, or two name one finding.
    """
    if given or listed:
        together(*(lambda name=name: _require_label(path, name, held) for name in given))
        return {name: canonical(finding) for name, finding in given.items()}
    found = finding_columns(held, path)
    say(f"labels from the columns {', '.join(found)}" if found else NO_LABELS)
    return found


def read_header(
    path: Path,
    given: Mapping[str, str | None],
    chosen: Mapping[str, str],
    images: Callable[[], object],
    say: Say,
    *,
    alone: bool,
) -> tuple[dict[str, str], dict[str, str]]:
    """What the table's columns are, after all that could be wrong with them was looked at.

    Args:
        path: of the table.
        given: role to the column that the settings name, or None.
        chosen: column to finding, as the settings name them.
        images: a look at the folder of images.
        say: takes what was found by name.
        alone: patients are not asked for.

    Returns:
        role to column, and column to finding.

    Raises:
        DataError: everything that is wrong with columns, folder and, where anything is, with cells of labels.
    """
    held, own, labels = column_names(path), dict[str, str](), dict[str, str]()

    def look_at_roles() -> None:
        own.update(roles(path, given, held, say, alone=alone))

    def look_at_labels() -> None:
        free = [name for name in held if name not in (own or given).values()]
        labels.update(label_columns(path, chosen, given["labels"] is not None, free, say))

    looks = (look_at_roles, images, look_at_labels)
    try:
        together(*looks)
    except DataError:
        named = labels or {name: finding for name, finding in chosen.items() if name in held}
        together(*looks, lambda: require_labels(path, named))
    return own, labels


def _require_label(path: Path, name: str, held: Sequence[str]) -> None:
    if name not in held:
        raise DataError(f"data.findings_columns: {path} has no column '{name}'. {did_you_mean(name, held)}")


def require_labels(path: Path, columns: Mapping[str, str]) -> None:
    """See that all cells of label columns can be read; said of each column, with its first that cannot.

    Raises:
        DataError: some cannot.
    """
    if columns:
        table = read_table(path, {name: name for name in columns}, Faults())
        together(*(lambda name=name: _require_cells(table, name) for name in columns))


def _require_cells(table: pd.DataFrame, name: str) -> None:
    faults = Faults()
    with suppress(DataError):  # all of them are wrong
        by_column(table, {name: name}, faults, uncertain="ignore", unmentioned="unknown")
    if faults:
        where, why = faults[0]
        raise DataError(f"{where}: {why}, as {len(faults):,} of {len(table):,} cells of the column.")


def require_images(folder: Path, given: str | None) -> None:
    """
    Raises:
        DataError: the settings name a folder of images that is not there.
    """
    if given is not None and not folder.is_dir():
        beside = (
            sorted(path.name for path in folder.parent.iterdir() if path.is_dir()) if folder.parent.is_dir() else []
        )
        raise DataError(f"data.images_dir: there is no folder {folder}. {did_you_mean(folder.name, beside)}")
