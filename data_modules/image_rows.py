"""From the rows of a user's table to one row an image: ids, several images in a cell, rows that contradict others."""

from __future__ import annotations

import os

import pandas as pd

from data_modules.tables import Faults

SEPARATOR = "|"
"""Parts the images of one study in a cell, and their views."""


def with_ids(rows: pd.DataFrame, faults: Faults) -> pd.DataFrame:
    """Rows of one study each, with its id: what is there, else the path of the first image without suffix.

    Args:
        rows: columns ``where``, ``image`` and ``study``, the last all "" or none.
        faults: takes rows whose id was used before.
    """
    if not rows["study"].any():
        first = rows["image"].str.split(SEPARATOR, regex=False).str[0].str.strip()
        rows = rows.assign(study=first.map(lambda name: os.path.splitext(name)[0]))
    why = "study id is that of a row before; if they are one study, name their column in data.study"
    return faults.drop(rows, rows.duplicated("study"), why, "study")


def parted(rows: pd.DataFrame, faults: Faults) -> pd.DataFrame:
    """One row an image; rows from one line share its index.

    Args:
        rows: columns ``where``, ``image`` and ``view``, the last "" where nothing is known.
        faults: takes lines with another number of views than of images, and empty names of images.
    """
    images = rows["image"].str.split(SEPARATOR, regex=False)
    views = rows["view"].str.split(SEPARATOR, regex=False)
    views = views.where(rows["view"] != "", images.map(lambda names: [""] * len(names)))
    unequal = images.map(len) != views.map(len)
    rows = faults.drop(rows.assign(image=images, view=views), unequal, "has another number of views than of images")
    rows = rows.explode(["image", "view"])
    rows = rows.assign(image=rows["image"].str.strip(), view=rows["view"].str.strip().str.upper())
    return faults.drop(rows, rows["image"] == "", f"has an empty image name beside a '{SEPARATOR}'")


def agreeing(rows: pd.DataFrame, columns: tuple[str, ...], faults: Faults) -> pd.DataFrame:
    """Rows that say of their study what its first row says.

    Args:
        rows: columns ``where``, ``study`` and ``columns``.
        columns: what must be the same in all rows of a study.
        faults: takes the others.
    """
    for column in columns:
        first = rows.groupby("study", sort=False)[column].transform("first")
        rows = faults.drop(rows, rows[column] != first, f"has another {column} than the first row of its study", column)
    return rows
