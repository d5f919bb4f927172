"""A folder of MS-CXR-T with made-up pairs and the images of MIMIC-CXR-JPG that they name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.helpers.mimic_cxr_folder import dicom, draw, image_path, labels, write

FINDINGS = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
IMAGES = "MS_CXR_T_temporal_image_classification_v1.0.0.csv"
COURSES = (
    {"edema": ("improving", "one_expert"), "consolidation": ("stable", "disagreement")},
    {"pleural_effusion": ("worsening", "multiple_experts")},
    {"pneumonia": ("stable", "one_expert"), "pneumothorax": ("Improving", "Multiple_Experts")},
)
"""Finding to (course, quality of the judgement); pairs get these in turn."""
KNOWN = (labels(Pleural_Effusion=1.0), labels(Edema=-1.0, Consolidation=0.0), labels(No_Finding=1.0))
"""Labels of the current studies in MIMIC-CXR-JPG, in turn."""
PAIRS = 24


def tree(subject: int, study: int) -> str:
    """How the set writes an image: its path below ``files`` without suffix."""
    return image_path(subject, study, dicom(subject, study)).removeprefix("files/").removesuffix(".jpg")


def pair(number: int, course: dict[str, tuple[str, str]]) -> dict[str, object]:
    """A row. The study before has the greater number, as ids say nothing of time."""
    subject, study, before = 10_000_032 + number, 50_000_000 + number, 59_000_000 + number
    row = {
        "dicom_id": tree(subject, study),
        "previous_dicom_id": tree(subject, before),
        "subject_id": subject,
        "study_id": study,
        "previous_study_id": before,
    }
    row |= {f"{name}_progression": course.get(name, ("", ""))[0] for name in FINDINGS}
    return row | {f"{name}_label_quality": course.get(name, ("", ""))[1] for name in FINDINGS}


def rows() -> list[dict[str, object]]:
    return [pair(number, COURSES[number % len(COURSES)]) for number in range(PAIRS)]


def save(root: Path, pairs: list[dict[str, object]]) -> None:
    """The table alone; every row is a row of ``rows`` that was changed or copied."""
    pd.DataFrame(pairs).to_csv(root / IMAGES, index=False)


def ms_cxr_t_folder(root: Path) -> Path:
    """24 pairs of 24 patients, both images of each, and the labels of MIMIC-CXR-JPG."""
    pairs = rows()
    for grey, row in enumerate(pairs):
        draw(root / f"files/{row['dicom_id']}.jpg", 2 * grey)
        draw(root / f"files/{row['previous_dicom_id']}.jpg", 2 * grey + 1)
    save(root, pairs)
    ids = [{"subject_id": row["subject_id"], "study_id": row["study_id"]} for row in pairs]
    write(root, "chexpert", pd.DataFrame([one | KNOWN[place % len(KNOWN)] for place, one in enumerate(ids)]))
    return root


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    return {"root": str(folder if (folder / "files").is_dir() else ms_cxr_t_folder(folder))}
