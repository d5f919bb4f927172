"""A table of labels that ``apo drift`` is given beside texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.findings import canonical
from data_modules.archives.image_rows import usual
from data_modules.tables import Faults, column_names, read_table
from data_modules.tables.label_columns import by_column


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
    """Study to its labels, and to its patient, out of the table that the data set `tabular` reads too: findings and
    patients by their usual names, studies by ``study``, ``id`` or the images' file names.

    Raises:
        DataError: it cannot be read, or lacks studies or findings, or a cell of it is no label.
    """
    held = [name for name in column_names(path) if name]
    study = _study(path, held)
    known = {name: canonical(name) for name in held if name != study and canonical(name) in findings}
    if len(set(known.values())) < len(known):
        raise DataError(f"--labels {path}: two of the columns {', '.join(known)} name one finding. Leave one out.")
    if not known:
        raise DataError(
            f"--labels {path} has no column for a finding ({', '.join(findings)}). {did_you_mean('', held)}"
        )
    patient = next((name for name in held if canonical(name) == "patient"), None) or usual(path, "patient", held)
    faults = Faults()
    rows = read_table(
        path, {name: name for name in dict.fromkeys([study, *known, *([patient] if patient else [])])}, faults
    )
    if rows.duplicated(study).any():
        row = rows[rows.duplicated(study)].iloc[0]
        raise DataError(f"--labels {row['where']}: study '{row[study]}' stands there twice. Remove one of the lines.")
    kept, labels = by_column(rows, known, faults, uncertain="ignore", unmentioned="unknown")
    if faults:
        where, why = faults[0]
        raise DataError(
            f"--labels {where}: {why} ({len(faults):,} such rows). Labels are 1, 0, -1 (uncertain) or empty."
        )
    found = dict(zip(kept[study], labels.to_dict("records"), strict=True))
    patients = dict(zip(kept[study], kept[patient], strict=True)) if patient else {}
    return found, {name: who for name, who in patients.items() if who}


def _study(path: Path, held: Sequence[str]) -> str:
    """
    Raises:
        DataError: no column says which study a row is of.
    """
    named = next((name for word in ("study", "id") for name in held if canonical(name) == word), None)
    found = named or usual(path, "image", held)
    if found is None:
        raise DataError(
            f"--labels {path} has no column 'study', nor one of image files (image, file, filename, path, ...). "
            f"{did_you_mean('study', held)}"
        )
    return found
