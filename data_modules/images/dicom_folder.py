"""DICOM files below a folder, told by their content: archives name them by UID, number or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd

from apo_lightning.errors import AbsentError, DataError
from apo_lightning.progress import watch
from data_modules.images.dicom import DicomHeader, header, refuse_header
from data_modules.images.transforms import Refused, is_dicom, refuse_unreadable
from data_modules.tables import Faults

SUFFIXES = (".dcm", ".dicom")
"""Names that promise DICOM."""
DIRECTORY = "DICOMDIR"
"""Name of the index of a DICOM medium: DICOM by content, and no image."""


def read_folder(
    folder: Path, faults: Faults, body_parts: Sequence[str] = (), view_positions: Sequence[str] = ()
) -> pd.DataFrame:
    """One row per image, in order of paths.

    Args:
        folder: symbolic links in it are followed, each folder once.
        faults: takes files that are refused by their header, and files named as DICOM that cannot be read as that.
        body_parts, view_positions: see ``dicom.refuse_header``.

    Returns:
        columns ``where`` and ``image`` (path below ``folder``), ``study`` (StudyInstanceUID, else the path without
        suffix), ``patient`` ("" where the header has none), ``view``, ``modality``.

    Raises:
        DataError: no file is DICOM.
    """
    paths = list(files_below(folder))
    rows, refused = [], 0
    examine = partial(_examine, body_parts=body_parts, view_positions=view_positions)
    for path, (found, why) in zip(paths, _each(examine, paths), strict=True):
        name = os.path.relpath(path, folder)
        if found is not None:
            study = found.study or os.path.splitext(name)[0]
            rows.append((name, name, study, found.patient, found.view, found.modality))
        elif why:
            faults.append((name, why))
            refused += 1
    if not rows and not refused:
        raise (DataError if paths else AbsentError)(
            f"{folder}: none of {len(paths)} files is DICOM. Set data.index_file to the table of your images, or "
            "to the folder with the DICOM files."
        )
    return pd.DataFrame(rows, columns=["where", "image", "study", "patient", "view", "modality"], dtype=str)


def files_below(folder: Path) -> Iterator[str]:
    """Every file that is not hidden, in order of names. A folder that links lead to again is passed by."""
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        at = os.stat(place)
        if (at.st_dev, at.st_ino) in seen:
            folders.clear()
            continue
        seen.add((at.st_dev, at.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.upper() != DIRECTORY:
                yield os.path.join(place, name)


def headers_of(paths: Iterable[str]) -> dict[str, DicomHeader]:
    """Headers of those files that are there and are DICOM."""
    listed = list(paths)
    pairs = zip(listed, _each(_header_of, listed), strict=True)
    return {path: found for path, found in pairs if found is not None}


def _each(work, paths: list[str]) -> Iterator:
    with ThreadPoolExecutor() as pool:
        yield from watch(pool.map(work, paths), len(paths), "reading headers")


def _header_of(path: str) -> DicomHeader | None:
    try:
        return header(path) if is_dicom(refuse_unreadable(Path(path))) else None
    except (DataError, Refused):
        return None  # whoever opens the image says why


def _examine(path: str, **allowed: Sequence[str]) -> tuple[DicomHeader | None, str]:
    """Header, or why the file cannot be used; neither where it does not claim to be DICOM."""
    named = path.lower().endswith(SUFFIXES)
    try:
        if not is_dicom(refuse_unreadable(Path(path))):
            return None, "is named as DICOM and is none. Fetch the file again or leave it out." if named else ""
        found = header(path)
        refuse_header(found, **allowed)
    except DataError as error:
        return None, str(error) if named else ""
    except Refused as error:
        return None, str(error)
    return found, ""
