"""``samples/`` of a run folder: images and reports of some studies, for the report to show."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path

from PIL import Image

from apo_lightning import leader
from apo_lightning.errors import DataError
from apo_lightning.files.atomic import TEMPORARY, file_name, remove, write_bytes
from apo_lightning.files.formats import write_json
from apo_lightning.reports.shown import BEGIN
from apo_lightning.reports.thumbnails import shrunk
from data_modules.base import CXRDataModule

COUNT = 300
"""Studies. Each costs a run some 30 ms and 50 kB at its end; the report says of how many it has no image."""
SIDE = 320
"""Pixels on the long side of an image."""
SHOW = ("report.html", "report.md")
"""Where a report repeats them."""


def keep(data: CXRDataModule, split: str, folder: Path) -> None:
    """Truth, report and a small image of the first studies of the split, for the report to show. Images of earlier
    runs go. A study whose image cannot be read any more is kept without it, and that is said."""
    place = folder / "samples"
    if place.is_symlink():
        remove(place)
    for old in place.glob("*.png"):
        remove(old)
    rows, lost = [], []
    for study in data.studies(split)[:COUNT]:
        findings = {k: None if math.isnan(v) else int(v) for k, v in study.findings.items()}
        row = {"study": study.id, "findings": findings, "report": study.report, "image": f"{file_name(study.id)}.png"}
        try:
            _save(data.images(study)[-len(study.images)], place / row["image"])
        except DataError as error:
            lost.append(str(error))
            row["image"] = None
        rows.append(row)
    write_json(place / "samples.json", rows)
    if lost:
        leader.warn(f"{len(lost)} images are not shown in the report, as they cannot be read any more: {lost[0]}")


def _save(image: Image.Image, path: Path) -> None:
    content = io.BytesIO()
    shrunk(image, SIDE).save(content, "png")
    write_bytes(path, content.getbuffer())


def withdraw(folder: Path, guarded: set[str]) -> None:
    """Remove what an earlier run was allowed to show and this one is not, and say so; the report is written anew."""
    place, names = folder / "samples", ", ".join(sorted(guarded))
    shown = [folder / name for name in SHOW if _shows(folder / name)]
    for path in (*shown, *(path for name in SHOW for path in folder.glob(f".{name}{TEMPORARY[1:]}"))):
        remove(path)  # the samples last: as long as they lie there, it is known that these show them
    if place.is_symlink() or place.exists():
        what = f"{place} with {len(list(place.glob('*.png')))} images and reports of {names}"
        remove(place)
    elif shown:
        what = f"{' and '.join(map(str, shown))} with images and reports of {names}"
    else:
        return
    leader.say_plainly(f"{what} was removed: this run has no acknowledge for it, so they are not shown any more")


def _shows(report: Path) -> bool:
    """Whether a report may hold studies: one of a run that was not allowed to says so."""
    try:
        return BEGIN not in report.read_text("utf-8")
    except (OSError, ValueError):
        return os.path.lexists(report)
