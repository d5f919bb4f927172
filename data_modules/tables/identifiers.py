"""Columns of identifiers: every cell in the normal form of its kind, and what has none, or may be two, a fault.

`apo_lightning.identifiers.forms` says what the forms are. Sets of an archive name the form of each column; a user's
own table has ``TEXT``, of which nobody can say whether "01" and "1" are one identifier.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.identifiers.forms import TEXT, Form
from apo_lightning.identifiers.matching import may_be_one
from data_modules.tables import Faults

OR_NONE = replace(TEXT, normal=re.compile(f"(?:{TEXT.normal.pattern})?"))
"""A user's own identifier, or no identifier."""

UNSURE = (
    "{name} id '{text}' may be the '{other}' of another row: write one in one way, and two so that they differ in more "
    "than zeros, marks, case and a word such as 'id' in front"
)


def normal(
    rows: pd.DataFrame, forms: Mapping[str, Form], faults: Faults, *, unique: Sequence[str] = ()
) -> pd.DataFrame:
    """``rows`` with identifiers in their normal forms.

    Args:
        rows: a frame that `read_table` made.
        forms: column to the form of its identifiers.
        faults: takes rows whose identifier cannot be read or told from another one, and repeated ones.
        unique: columns that together must not repeat; the first row of equals is kept.
    """
    for name, form in forms.items():
        odd = ~rows[name].str.fullmatch(form.normal.pattern).astype(bool)
        if odd.any():
            rows = _read(rows, name, form, rows[name][odd].unique(), faults)
    if unique:
        rows = faults.drop(rows, rows.duplicated(list(unique)), "is listed before", unique[0])
    return rows


def listed(
    rows: pd.DataFrame, forms: Mapping[str, Form], faults: Faults, *, unique: Sequence[str] = ()
) -> pd.DataFrame:
    """`normal` of a list of splits, which must tell every study.

    Raises:
        DataError: an identifier cannot be read or told from another one.
    """
    lost = Faults()
    rows = normal(rows, forms, lost)
    if lost:
        raise DataError(f"{': '.join(lost[0])}. A list of splits must tell every study: correct {len(lost):,} rows.")
    return normal(rows, {}, faults, unique=unique)


def _read(rows: pd.DataFrame, name: str, form: Form, odd: Sequence[str], faults: Faults) -> pd.DataFrame:
    """With the odd texts of a column read one by one."""
    found: dict[str, str] = {}
    why: dict[str, list[str]] = defaultdict(list)
    for text in odd:
        try:
            found[text] = form(text)
        except ValueError as error:
            why[str(error)].append(text)
    for reason, wrong in why.items():
        rows = faults.drop(rows, rows[name].isin(wrong), reason, name)
    read = [found.get(text, text) for text in rows[name]]
    return rows.assign(**{name: pd.Series(read, rows.index, rows[name].dtype)})


def own(rows: pd.DataFrame, columns: Mapping[str, str], faults: Faults, say: Callable[[str], None]) -> pd.DataFrame:
    """``rows`` of a user's table with their identifiers in the form ``TEXT``; "" stays.

    Args:
        rows: with a column ``where``.
        columns: column to the letter that may stand before its numbers.
        faults: takes rows whose identifier may be that of another row, written otherwise.
        say: is told which were written in several ways and are one all the same.
    """
    for name, letter in columns.items():
        before = rows[name].unique()
        rows = normal(rows, {name: OR_NONE}, faults)
        _say_what_is_one(before, rows[name].unique(), name, say)
        rows = told_apart(rows, name, letter, faults)
    return rows


def _say_what_is_one(before: Sequence[str], kept: Sequence[str], name: str, say: Callable[[str], None]) -> None:
    if len(before) == len(kept):
        return
    ways: dict[str, list[str]] = defaultdict(list)
    for text in filter(None, before):
        try:
            ways[OR_NONE(text)].append(text)
        except ValueError:
            continue  # a fault already
    several = [texts for texts in ways.values() if len(texts) > 1]
    if several:
        first = " and ".join(map(repr, several[0]))
        say(f"{len(several):,} {name} ids are written in several ways and count as one each, first {first}")


def told_apart(rows: pd.DataFrame, name: str, letter: str, faults: Faults) -> pd.DataFrame:
    """Without rows whose identifier may be that of others."""
    other = may_be_one(filter(None, rows[name].unique()), letter)
    unsure = rows[name].isin(list(other))
    faults += [
        (where, UNSURE.format(name=name, text=text, other=other[text]))
        for where, text in zip(rows["where"][unsure], rows[name][unsure], strict=True)
    ]
    return rows[~unsure]
