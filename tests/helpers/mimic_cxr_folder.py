"""A folder in the official layout of MIMIC-CXR-JPG with made-up patients."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

LABELS = (
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
METADATA = (
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
)
TABLE = "mimic-cxr-2.0.0-{}.csv.gz"
RADIOLOGIST = "mimic-cxr-2.1.0-test-set-labeled.csv"
SPLITS = ("train",) * 20 + ("validate",) * 3 + ("test",) * 3


def dicom(*words: object) -> str:
    """A made-up image id in the official form: five groups of eight hexadecimal digits."""
    digits = hashlib.sha1(repr(words).encode()).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def image_path(subject: int, study: int, image: str) -> str:
    return f"files/p{str(subject)[:2]}/p{subject}/s{study}/{image}.jpg"


def draw(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey % 256).save(path)


def write(folder: Path, name: str, rows: pd.DataFrame) -> Path:
    """An official table, as the archive has it: gzipped, empty cells for what is not known."""
    path = folder / TABLE.format(name)
    rows.to_csv(path, index=False, compression={"method": "gzip", "compresslevel": 1, "mtime": 0})
    return path


def labels(**values: float) -> dict[str, float]:
    """A row of the label table; what is not named is not mentioned. ``No_Finding`` stands for "No Finding"."""
    return {name: values.get(name.replace(" ", "_"), np.nan) for name in LABELS}


ROUND = (
    labels(No_Finding=1.0),
    labels(Pleural_Effusion=1.0, Cardiomegaly=-1.0, Pneumothorax=0.0),
    labels(Edema=1.0, Support_Devices=1.0, Atelectasis=-1.0),
)
"""Studies get these in turn."""


def image_row(subject: int, study: int, view: str, date: int, time: float) -> dict[str, object]:
    known = {
        "dicom_id": dicom(subject, study, view),
        "subject_id": subject,
        "study_id": study,
        "ViewPosition": view,
        "PerformedProcedureStepDescription": "CHEST (PA AND LAT)",
        "Rows": 3056,
        "Columns": 2544,
        "StudyDate": date,
        "StudyTime": time,
    }
    return {name: known.get(name, "") for name in METADATA}


def studies_of(number: int) -> list[tuple[int, int]]:
    """(subject, study) of the patient: every third has two studies, the later one with the smaller number."""
    subject = 10_000_032 + number * 700_001
    study = 50_500_000 + number * 7_919
    return [(subject, study)] if number % 3 else [(subject, study), (subject, study - 400_000)]


def mimic_folder(root: Path) -> Path:
    """26 patients, 20 of them for training; a study has a lateral and a frontal image, the lateral first."""
    metadata, splits, known = [], [], []
    for number, split in enumerate(SPLITS):
        for turn, (subject, study) in enumerate(studies_of(number)):
            frontal = "AP" if number % 2 else "PA"
            rows = [image_row(subject, study, view, 21_800_101 + turn, 71_903.25) for view in ("LATERAL", frontal)]
            metadata += rows
            for row in rows:
                splits.append({"dicom_id": row["dicom_id"], "study_id": study, "subject_id": subject, "split": split})
                draw(root / image_path(subject, study, str(row["dicom_id"])), len(splits))
            known.append({"subject_id": subject, "study_id": study, **ROUND[len(known) % len(ROUND)]})
    write(root, "metadata", pd.DataFrame(metadata))
    write(root, "split", pd.DataFrame(splits))
    write(root, "chexpert", pd.DataFrame(known))
    write(root, "negbio", pd.DataFrame(known).assign(**{"Pleural Effusion": 0.0}))
    return root


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    return {"root": str(folder if (folder / "files").is_dir() else mimic_folder(folder))}
