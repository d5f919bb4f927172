"""A table of labels that ``apo drift`` is given beside texts."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from apo_lightning.errors import DataError
from apo_lightning.findings import canonical


def same_names(labels: Path, listed: Sequence[str], spoken: Sequence[str]) -> dict[str, str]:
    """Names of a table of labels to those of the texts: as they are, or by the name of a file without its folder and
    ending, where that is one study's.

    Raises:
        DataError: not one fits.
    """
    stems = Counter(PurePath(name.replace("\\", "/")).stem for name in spoken)
    by_stem = {PurePath(name.replace("\\", "/")).stem: name for name in spoken}
    known, found = set(spoken), {}
    for name in listed:
        stem = PurePath(name.replace("\\", "/")).stem
        if name in known:
            found[name] = name
        elif stems[stem] == 1:
            found[name] = by_stem[stem]
    if listed and spoken and not found:
        raise DataError(
            f"--labels {labels}: none of its {len(listed):,} studies is one of the texts ('{listed[0]}' there, "
            f"'{spoken[0]}' here). Name them alike."
        )
    return found


def table(path: Path, findings: Sequence[str]) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Study to its labels, and to its patient."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"--labels {path} cannot be read ({error}). Give a CSV table with a column 'study'.") from error
    columns = {canonical(name): name for name in (rows[0] if rows else {}) if name}
    known = [name for name in findings if name in columns]
    if "study" not in columns or not known:
        raise DataError(f"--labels {path} must have a column 'study' and one for a finding ({', '.join(findings)}).")
    found: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows, 2):
        study = row[columns["study"]]
        if study in found:
            raise DataError(f"--labels {path}:{number}: study '{study}' stands there twice. Remove one of the lines.")
        found[study] = {name: _label(row[columns[name]], path, number, name) for name in known}
    patients = {row[columns["study"]]: row[columns["patient"]] for row in rows} if "patient" in columns else {}
    return found, {study: patient for study, patient in patients.items() if patient}


def _label(cell: str | None, path: Path, number: int, name: str) -> float:
    if not (cell or "").strip():
        return math.nan
    try:
        value = float(cell)  # type: ignore[arg-type]
    except ValueError:
        value = -1.0
    if value not in (0, 1):
        raise DataError(f"--labels {path}:{number}: '{name}' must be 1, 0 or empty, got '{cell}'.")
    return value
