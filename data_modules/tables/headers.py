"""The names of a table's columns: found under marks that nobody sees, refused where two could be meant."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from apo_lightning.errors import DataError, did_you_mean

_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
"""Zero-width marks, joiners, marks of direction and of byte order."""
_PANDAS = re.compile(r"\.\d+$")
"""What pandas puts behind the name of a column that comes again."""
NEAR = 0.85
"""From here on a name is taken for a misspelling of a column that may be absent."""


def clean(name: str) -> str:
    """A name as one sees it: without unseen marks, with single blanks.

    >>> clean("\\ufeffImage\\u00a0Index\\u200b ")
    'Image Index'
    """
    return " ".join(_UNSEEN.sub("", name).split())


def same(name: str) -> str:
    """What names have in common that differ in case, blanks, underscores, hyphens or width.

    >>> same("Patient ID") == same("patient_id")
    True
    """
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", clean(name)).casefold())


def refuse_doubles(path: Path, header: Sequence[str], wanted: Collection[str]) -> None:
    """
    Raises:
        DataError: a wanted column is there twice; names both and their places.
    """
    keys = [same(name) for name in header]
    keys = [base if (base := _PANDAS.sub("", key)) != key and base in keys else key for key in keys]
    for name in wanted:
        places = [
            i for i, key in enumerate(keys) if key == same(name) and (header[i] == name or header[i] not in wanted)
        ]
        if len(places) > 1:
            found = " and ".join(f"column {place + 1} ('{header[place]}')" for place in places[:5])
            raise DataError(
                f"{path} has the column '{name}' {len(places)} times: {found}. Only one of them can be meant: remove "
                "the others, or give them other names."
            )


NO_HEADER = re.compile(r"sep=|[#%/]|--|<|[\[{]", re.IGNORECASE)
"""How lines begin that spreadsheets, programs and people put above a header, or files that are no tables."""


def refuse_lacking(path: Path, header: Sequence[str], columns: Collection[str], optional: Collection[str]) -> None:
    """
    Raises:
        DataError: a column is missing, or one that may be absent is there under another spelling.
    """
    for name in columns:
        if name in header:
            continue
        near = nearest(name, [other for other in header if other not in columns])
        if name not in optional:
            one = " Its header is one cell: cells are parted by commas, semicolons or tabs." if len(header) == 1 else ""
            if NO_HEADER.match(next(filter(None, header), "")):
                one = " Its first line is no header: remove what stands above the one with the names of the columns."
            hint = f"Did you mean '{near}'? {did_you_mean('', header)}" if near else did_you_mean(name, header)
            raise DataError(f"{path} has no column '{name}'. {hint}{one}")
        if near:
            raise DataError(
                f"{path} has no column '{name}', which may be absent, but one '{near}'. If it is meant, call it "
                f"'{name}'; if not, give it a name that differs more."
            )


def nearest(name: str, others: Sequence[str]) -> str | None:
    """The name that differs only in what `same` passes over, or in a letter or two."""
    by_key = {same(other): other for other in reversed(others)}
    close = difflib.get_close_matches(same(name), by_key, n=1, cutoff=NEAR)
    return by_key[close[0]] if close else None
