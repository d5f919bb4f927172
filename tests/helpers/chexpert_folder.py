"""A folder in the official layout of CheXpert with its test set beside it, drawn by PIL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

ARCHIVE = "CheXpert-v1.0-small"
LABELS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""As the official header has them, in its order."""
HEADER = ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS])
RAW = (
    {"No Finding": "1.0", "Pneumothorax": "0.0", "Support Devices": "1.0"},  # the official first row
    {"Cardiomegaly": "-1.0", "Edema": "-1.0", "Pleural Effusion": "1.0"},
    {"Lung Opacity": "1.0", "Consolidation": "-1.0", "Pneumonia": "-1.0", "Atelectasis": "1.0"},
    {"Enlarged Cardiomediastinum": "0.0", "Fracture": "-1.0"},
)
EXPERT = ({"Edema": "1", "Lung Opacity": "1"}, {"No Finding": "1"}, {"Pleural Effusion": "1", "Atelectasis": "1"})
"""Present findings of validation and test studies in turn; all others are 0."""


def row(place: str, raw: Mapping[str, str], *, view: str = "AP", rest: str = "", archive: str = ARCHIVE) -> str:
    """A line of ``train.csv``; ``rest`` stands where a label is not given."""
    side = "Lateral" if "lateral" in place else "Frontal"
    cells = [f"{archive}/{place}", "Female", "68", side, "" if side == "Lateral" else view]
    return ",".join([*cells, *(raw.get(label, rest) for label in LABELS)])


def draw(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey % 256).save(path)


def places(split: str, patients: range) -> list[str]:
    """Images: every fourth patient has a second study, every third a lateral image in the first."""
    found = []
    for number in patients:
        base = f"{split}/patient{number:05d}"
        found.append(f"{base}/study1/view1_frontal.jpg")
        found += [f"{base}/study1/view2_lateral.jpg"] * (number % 3 == 0)
        found += [f"{base}/study2/view1_frontal.jpg"] * (number % 4 == 0)
    return found


def table(path: Path, lines: list[str], header: str = HEADER) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n")


def by_study(images: list[str]) -> dict[str, list[str]]:
    studies: dict[str, list[str]] = {}
    for image in images:
        studies.setdefault(image.rsplit("/", 1)[0], []).append(image)
    return studies


def chexpert_folder(root: Path, *, test: bool = True) -> Path:
    """``root`` with the archive (24 training and 4 validation patients) and, in ``CheXpert``, 5 test patients."""
    archive, lines, grey = root / ARCHIVE, {"train": [], "valid": []}, 0
    for split, patients in (("train", range(1, 25)), ("valid", range(64541, 64545))):
        for number, images in enumerate(by_study(places(split, patients)).values()):
            raw, rest = (RAW[number % 4], "") if split == "train" else (EXPERT[number % 3], "0.0")
            for image in images:
                grey += 1
                draw(archive / image, grey)
                lines[split].append(row(image, raw, view=("AP", "PA")[number % 2], rest=rest))
        table(archive / f"{split}.csv", lines[split])
    if test:
        _test_set(root / "CheXpert")
    return root


def _test_set(folder: Path) -> None:
    studies, lines = by_study(places("test", range(64741, 64746))), []
    for number, (study, images) in enumerate(studies.items()):
        for image in images:
            draw(folder / image, 200 + number)
        lines.append(",".join([f"CheXpert-v1.0/{study}", *(EXPERT[number % 3].get(label, "0") for label in LABELS)]))
    table(folder / "groundtruth.csv", lines, ",".join(["Study", *LABELS]))


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    return {"root": str(folder if (folder / ARCHIVE).is_dir() else chexpert_folder(folder))}
