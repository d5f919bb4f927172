"""From the rows of a user's table to one row per image: ids, several images in a cell, rows that contradict others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd

from apo_lightning.errors import DataError
from data_modules.images.dicom_folder import headers_of
from data_modules.loading.splits import NAMES
from data_modules.tables import Faults
from data_modules.tables.headers import same
from data_modules.tables.identifiers import own

SEPARATOR = "|"
"""Parts the images of one study in a cell, and their views."""

WHO = frozenset(
    ("patient", "patients", "patientid", "patientids", "patientno", "patientnumber", "subject", "subjects", "subjectid")
)
"""Names of a column that says which patient a row is of, as `same` spells them."""
IMAGES = frozenset(
    ("image", "images", "imagepath", "imagefile", "imagefilename", "file", "filename", "filepath", "path", "dicom")
)
"""The same of image files."""
USUAL = {"image": IMAGES, "patient": WHO}


def usual(path: Path, role: str, others: Iterable[str]) -> str | None:
    """The column that usually bears what a role of ``USUAL`` stands for; None where there is none.

    Raises:
        DataError: there are several, and which is meant decides what is read, or which patients a split parts.
    """
    found = [name for name in others if same(name) in USUAL[role]]
    if len(found) > 1:
        raise DataError(
            f"{path} has no column '{role}', but {len(found)} that could be it: {', '.join(map(repr, found))}. Name "
            f"the right one in data.{role}."
        )
    return found[0] if found else None


def split_names(rows: pd.DataFrame, own: Mapping[str, str], path: Path) -> pd.Series:
    """The column ``split`` in this project's words, "" where it is empty.

    Args:
        rows: columns ``where`` and ``split``.
        own: further words to train, val or test.
        path: of the table, for the message.

    Raises:
        DataError: a word is none that is known.
    """
    known = {"": "", **NAMES, **{word.lower(): name for word, name in own.items()}}
    words = rows["split"].str.lower()
    unknown = rows[~words.isin(known)]
    if len(unknown):
        some = ", ".join(map(repr, sorted(unknown["split"].unique())[:5]))
        raise DataError(
            f"data.split: {path} has the splits {some} (first: {unknown['where'].iloc[0]}). Known: {', '.join(NAMES)}. "
            "Say in data.split_map which of train, val and test each is."
        )
    return words.map(known)


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
    """One row per image; rows from one line share its index.

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


def with_patients(
    rows: pd.DataFrame, faults: Faults, say: Callable[[str], None], *, alone: bool, headers: bool
) -> pd.DataFrame:
    """Where the table has no patients: those of DICOM headers, else each study its own.

    Args:
        rows: columns ``where``, ``path``, ``study``, ``patient`` and ``view``, "" where nothing is known.
        faults: takes rows whose patient may be that of another row, written otherwise.
        say: is told where patients are from.
        alone: each study counts as a patient, whatever ids are there.
        headers: look into the images for what is not known.
    """
    if alone:
        return rows.assign(patient=rows["study"])
    if (rows["patient"] != "").all():
        return rows
    if headers and (found := headers_of(rows["path"])):
        patients = [found[path].patient if path in found else "" for path in rows["path"]]
        views = [
            view or (found[path].view if path in found else "")
            for view, path in zip(rows["view"], rows["path"], strict=True)
        ]
        say(f"patients and views from the headers of {len(found):,} DICOM files")
        rows = own(rows.assign(patient=patients, view=views), {"patient": "p"}, faults, say)
    known = rows.groupby("study")["patient"].transform("max")
    without = rows["study"][known == ""].nunique()
    if without:
        say(
            f"{without:,} studies without a patient id count as a patient each: the splits may part a patient. "
            "Name the column in data.patient, or say data.study_is_patient=true if none has two."
        )
    known = known.where(known != "", rows["study"])
    return rows.assign(patient=rows["patient"].where(rows["patient"] != "", known))
