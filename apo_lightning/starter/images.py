"""The project's data set: drawn radiographs as PNG files, and a table of what they show."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data_modules.phantom import Phantom

SIZES = {"train": 32, "val": 16, "test": 32}
"""Studies of each split."""
SEED = 1
"""Other studies than those that `phantom` draws by default, so that nobody takes the one set for the other."""


def write(folder: Path) -> Path:
    """Draw the images into ``folder/images`` and write ``folder/labels.csv``, a row a study; returns the table."""
    drawn = Phantom(seed=SEED, **SIZES)
    (folder / "images").mkdir(parents=True)
    rows = []
    for study in (study for split in SIZES for study in drawn.read_studies(split)):
        image = f"images/{study.id}.png"
        drawn.open_images(study)[0].save(folder / image)
        labels = {name: int(value) for name, value in study.findings.items()}
        rows.append({"image": image, "patient": study.patient, "split": study.split, **labels, "report": study.report})
    table = folder / "labels.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table
