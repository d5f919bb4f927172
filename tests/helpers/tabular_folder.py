"""A user's own table with its images, drawn by PIL."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

HEADER = "image,patient,split,view,Edema,Pleural Effusion,Pneumonia,report"
LABELS = ("0,0,0", "0,1,", "1,0,-1", ",1,1")
SPLITS = {"train": range(1, 23), "valid": range(23, 27), "test": range(27, 31)}


def draw(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("L", (8, 8), bytes((grey + pixel) % 256 for pixel in range(64))).save(path)


def rows() -> list[str]:
    """30 patients, those with an even number with two studies, every fifth of these with two images."""
    found = []
    for split, patients in SPLITS.items():
        for patient in patients:
            for study in range(1 + (patient % 2 == 0)):
                names = [f"images/p{patient}_{study}_{number}.png" for number in range(1 + (patient % 5 == 0))]
                views = "|".join(("PA", "LATERAL")[: len(names)])
                labels = LABELS[len(found) % len(LABELS)]
                found.append(f"{'|'.join(names)},{patient},{split},{views},{labels},Report {patient}.{study}")
    return found


def tabular_folder(root: Path) -> Path:
    for number, row in enumerate(rows()):
        for image, name in enumerate(row.split(",")[0].split("|")):
            draw(root / name, 5 * number + image)
    (root / "table.csv").write_text("\n".join([HEADER, *rows()]) + "\n")
    return root


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    tabular_folder(folder)
    columns = {"index_file": "table.csv", "split": "split", "view": "view", "report": "report"}
    return {"root": str(folder), **columns, "uncertain": "zeros", "unmentioned": "absent"}
