"""A folder in the official layout of NIH ChestX-ray14, drawn by PIL."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
LABELS = ("No Finding", "Effusion|Mass", "Pneumonia", "Cardiomegaly|Edema|Effusion")


def names(patients: range, images: int = 2) -> list[str]:
    return [f"{patient:08d}_{number:03d}.png" for patient in patients for number in range(images)]


def row(image: str, labels: str) -> str:
    return f"{image},{labels},0,{int(image[:8])},57,M,PA,2682,2749,0.143,0.143"


def nih_folder(root: Path, *, images: str = "images") -> Path:
    """20 train_val and 5 test patients with two 8-px images each; labels go round LABELS in table order."""
    train_val, test = names(range(1, 21)), names(range(21, 26))
    (root / images).mkdir(parents=True)
    for number, name in enumerate(train_val + test):
        Image.new("L", (8, 8), number).save(root / images / name)
    rows = [row(name, LABELS[number % len(LABELS)]) for number, name in enumerate(train_val + test)]
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(train_val) + "\n")
    (root / "test_list.txt").write_text("\n".join(test))  # the official list has no final newline
    return root


def box_file(root: Path, *rows: str) -> None:
    """The official box list with its unquoted commas; ``rows`` are ``image,label,x,y,w,h``."""
    (root / "BBox_List_2017.csv").write_text("\n".join([BOX_HEADER, *rows]) + "\n")


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    if not (folder / "images").is_dir():
        box_file(nih_folder(folder), "00000021_001.png,Effusion,256,512,128,64", "00000022_000.png,Pneumonia,0,0,9,9")
    return {"root": str(folder)}
