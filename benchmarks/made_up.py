"""Sets of official size with made-up contents, for the benchmarks that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.world import cases

NIH_ROWS, NIH_PATIENTS = 112_120, 30_805
"""Of the official table."""
NIH_LABELS = (
    "No Finding", "No Finding", "No Finding", "Infiltration", "Effusion|Infiltration", "Atelectasis", "Nodule", "Mass",
    "Pneumothorax", "Cardiomegaly|Edema|Effusion", "Consolidation", "Emphysema", "Fibrosis|Pleural_Thickening",
    "Hernia", "Pneumonia",
)  # fmt: skip
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
SIDE = 1024
GRAIN = 6.0
"""Standard deviation of the noise, in grey levels: a drawing without it would compress to nearly nothing."""


def nih_index(folder: Path, rows: int = NIH_ROWS) -> Path:
    """Table and lists of NIH ChestX-ray14 with ``rows`` rows, and the first image alone."""
    draws = np.random.default_rng(0)
    patients = max(2, rows * NIH_PATIENTS // NIH_ROWS)
    owner = np.sort(np.concatenate([np.arange(patients), draws.integers(0, patients, rows - patients)])) + 1
    number = pd.Series(owner).groupby(owner).cumcount()
    names = [f"{patient:08d}_{image:03d}.png" for patient, image in zip(owner, number, strict=True)]
    labels = draws.choice(NIH_LABELS, rows)
    views = draws.choice(["PA", "AP"], rows, p=[0.6, 0.4])
    lines = [
        f"{name},{label},{image},{patient},57,M,{view},2682,2749,0.143,0.143"
        for name, label, image, patient, view in zip(names, labels, number, owner, views, strict=True)
    ]
    return _write(folder, lines, names, {name: "test" for name, who in zip(names, owner, strict=True) if who % 4 == 0},
                  {names[0]: Image.new("L", (8, 8))})  # fmt: skip


def nih_folder(folder: Path, images: int) -> Path:
    """``images`` drawn radiographs of ``SIDE`` pixels with grain, in NIH's layout, all of them PA."""
    draws = np.random.default_rng(0)
    names = [f"{patient:08d}_000.png" for patient in range(1, images + 1)]
    pictures = {}
    for name, case in zip(names, cases(0, images), strict=True):
        smooth = np.asarray(draw(case, 256).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
        grainy = smooth + draws.normal(0, GRAIN, smooth.shape)
        pictures[name] = Image.fromarray(grainy.clip(0, 255).astype(np.uint8))
    lines = [f"{name},No Finding,0,{int(name[:8])},57,M,PA,{SIDE},{SIDE},0.143,0.143" for name in names]
    return _write(folder, lines, names, dict.fromkeys(names[-2:], "test"), pictures)


def _write(folder: Path, lines: list[str], names: list[str], tested: dict[str, str],
           pictures: dict[str, Image.Image]) -> Path:  # fmt: skip
    (folder / "images").mkdir(parents=True)
    for name, picture in pictures.items():
        picture.save(folder / "images" / name)
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join([NIH_HEADER, *lines]) + "\n")
    trained = [name for name in names if name not in tested]
    for list_name, held in (("train_val_list.txt", trained), ("test_list.txt", list(tested))):
        (folder / list_name).write_text("\n".join(held))
    return folder
