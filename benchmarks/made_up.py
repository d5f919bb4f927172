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
    "No Finding",
    "No Finding",
    "No Finding",
    "Infiltration",
    "Effusion|Infiltration",
    "Atelectasis",
    "Nodule",
    "Mass",
    "Pneumothorax",
    "Cardiomegaly|Edema|Effusion",
    "Consolidation",
    "Emphysema",
    "Fibrosis|Pleural_Thickening",
    "Hernia",
    "Pneumonia",
)
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
MIMIC_ROWS, MIMIC_STUDIES, MIMIC_PATIENTS = 377_110, 227_835, 65_379
"""Of the whole set."""
MIMIC_LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
MIMIC_METADATA = [
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
]
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
    return _write(
        folder,
        lines,
        names,
        {name: "test" for name, who in zip(names, owner, strict=True) if who % 4 == 0},
        {names[0]: Image.new("L", (8, 8))},
    )


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


def _write(
    folder: Path, lines: list[str], names: list[str], tested: dict[str, str], pictures: dict[str, Image.Image]
) -> Path:
    (folder / "images").mkdir(parents=True)
    for name, picture in pictures.items():
        picture.save(folder / "images" / name)
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join([NIH_HEADER, *lines]) + "\n")
    trained = [name for name in names if name not in tested]
    for list_name, held in (("train_val_list.txt", trained), ("test_list.txt", list(tested))):
        (folder / list_name).write_text("\n".join(held))
    return folder


def mimic_index(folder: Path, rows: int = MIMIC_ROWS) -> dict[str, str]:
    """Tables as large as the official ones, with made-up ids and labels, and the first image alone.

    The same ``rows`` give the same tables. Returns the settings of a data module over them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    patients, studies = max(1, rows * MIMIC_PATIENTS // MIMIC_ROWS), max(1, rows * MIMIC_STUDIES // MIMIC_ROWS)
    subject_of = _spread(rng, studies, np.sort(rng.choice(10_000_000, patients, replace=False)) + 10_000_000)
    study_ids = rng.choice(10_000_000, studies, replace=False) + 50_000_000
    study_of = _spread(rng, rows, np.arange(studies))
    ids = pd.DataFrame({"subject_id": subject_of[study_of], "study_id": study_ids[study_of]})
    ids.insert(0, "dicom_id", _dicoms(rng, rows))
    _gzipped(folder, "metadata", ids.assign(**_headers(rng, study_of, studies))[list(MIMIC_METADATA)])
    of_patient = dict(
        zip(
            np.unique(subject_of),
            rng.choice(["train", "validate", "test"], patients, p=[0.978, 0.008, 0.014]),
            strict=True,
        )
    )
    _gzipped(folder, "split", ids[["dicom_id", "study_id", "subject_id"]].assign(split=ids.subject_id.map(of_patient)))
    cells = rng.choice([np.nan, 1.0, 0.0, -1.0], (studies, len(MIMIC_LABELS)), p=[0.8, 0.12, 0.05, 0.03])
    known = pd.DataFrame(cells, columns=list(MIMIC_LABELS))
    known.insert(0, "study_id", study_ids)
    known.insert(0, "subject_id", subject_of)
    _gzipped(folder, "chexpert", known)
    first = ids.iloc[0]
    subject = f"p{first.subject_id}"
    image = folder / "files" / subject[:3] / subject / f"s{first.study_id}" / f"{first.dicom_id}.jpg"
    image.parent.mkdir(parents=True)
    Image.new("L", (8, 8)).save(image)
    return {"root": str(folder)}


def _spread(rng: np.random.Generator, count: int, over: np.ndarray) -> np.ndarray:
    """``count`` values in the order of ``over``, every one of which comes at least once."""
    more = rng.integers(0, len(over), count - len(over))
    return over[np.sort(np.concatenate([np.arange(len(over)), more]))]


def _dicoms(rng: np.random.Generator, rows: int) -> list[str]:
    digits = rng.bytes(20 * rows).hex()
    return ["-".join(digits[at : at + 8] for at in range(start, start + 40, 8)) for start in range(0, len(digits), 40)]


def _headers(rng: np.random.Generator, study_of: np.ndarray, studies: int) -> dict[str, object]:
    """The columns of the metadata table behind the ids."""
    rows = len(study_of)
    dates = 21_100_000 + rng.integers(0, 90, studies) * 10_000 + rng.integers(1, 13, studies) * 100 + 15
    clock = rng.integers(0, 24, studies) * 10_000 + rng.integers(0, 60, studies) * 100 + rng.random(studies) * 59
    views = rng.choice(["AP", "PA", "LATERAL", "LL", ""], rows, p=[0.39, 0.26, 0.22, 0.09, 0.04])
    return {
        "PerformedProcedureStepDescription": "CHEST (PORTABLE AP)",
        "ViewPosition": views,
        "Rows": 3056,
        "Columns": 2544,
        "StudyDate": dates[study_of],
        "StudyTime": clock.round(3)[study_of],
        "ProcedureCodeSequence_CodeMeaning": "CHEST (PORTABLE AP)",
        "ViewCodeSequence_CodeMeaning": "antero-posterior",
        "PatientOrientationCodeSequence_CodeMeaning": "Erect",
    }


def _gzipped(folder: Path, name: str, rows: pd.DataFrame) -> None:
    how = {"method": "gzip", "compresslevel": 1, "mtime": 0}
    rows.to_csv(folder / f"mimic-cxr-2.0.0-{name}.csv.gz", index=False, compression=how)
