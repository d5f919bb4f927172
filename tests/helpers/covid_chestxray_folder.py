"""Folders as the COVID-19 image data collection has them, drawn by PIL."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

UPSTREAM = (
    "patientid",
    "offset",
    "sex",
    "age",
    "finding",
    "RT_PCR_positive",
    "survival",
    "view",
    "modality",
    "date",
    "location",
    "folder",
    "filename",
    "doi",
    "url",
    "license",
    "clinical_notes",
    "other_notes",
)
"""The columns of upstream's table that tell most; it ends each line with an empty one."""
FINDINGS = (
    "Pneumonia/Viral/COVID-19",
    "No Finding",
    "Pneumonia/Bacterial/Streptococcus",
    "Pneumonia",
    "Pneumonia/Fungal/Pneumocystis",
)
"""Patients go round. Of the first one every finding is known, which the contract tests change."""
NOTES = "Presentation: Cough.. Imaging Notes: Patchy opacities. . Clear  apices.. Discussion: A typical case."


def row(patient: Any, filename: str, **cells: Any) -> dict[str, Any]:
    """A frontal radiograph of COVID-19 without notes, some cells changed."""
    plain = {"offset": "0", "finding": "COVID-19", "view": "PA", "modality": "X-ray", "folder": "images"}
    return {**dict.fromkeys(UPSTREAM, ""), **plain, "patientid": patient, "filename": filename, **cells}


def write(root: Path, rows: Iterable[dict[str, Any]], *, drop: Iterable[str] = (), draw: bool = True) -> Path:
    """``metadata.csv`` without some columns, and every image that it names."""
    rows = list(rows)
    columns = [name for name in rows[0] if name not in set(drop)]
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*columns, ""])
        table.writerows([*(cells[name] for name in columns), ""] for cells in rows)
    for number, cells in enumerate(rows if draw else ()):
        path = root / (cells.get("image") or f"{cells['folder'] or 'images'}/{cells['filename']}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number % 256).save(path)
    return root


def covid_folder(root: Path) -> Path:
    """40 patients, every third of them with a second time point, one CT."""
    rows = []
    for patient in range(1, 41):
        for offset in (0, 4)[: 1 + (patient % 3 == 0)]:
            finding = FINDINGS[patient % len(FINDINGS)]
            rows.append(row(patient, f"{patient}-{offset}.png", offset=offset, finding=finding, clinical_notes=NOTES))
    rows.append(row(1, "ct.png", folder="volumes", modality="CT", view="Axial"))
    return write(root, rows)


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    return {"root": str(folder if (folder / "metadata.csv").is_file() else covid_folder(folder))}
