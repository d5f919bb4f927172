"""Folders in the three forms of Open-I, drawn by PIL: the official XML, Kaggle's tables, R2Gen's annotation file."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

PATIENTS = range(1, 31)
CASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("normal", ()),
    ("Pleural Effusion/left/small", ("bilateral pleural effusion", "Pleural Effusion")),
    ("Calcified Granuloma/lung", ("calcified granuloma", "Granuloma")),
    ("Pulmonary Atelectasis/base", ("atelectases",)),
    ("No Indexing", ()),
)
"""Major heading and automatic terms; patients go round."""
FINDINGS, IMPRESSION = "The lungs are clear. XXXX XXXX intact.", "Normal chest x-XXXX."


def ids(uid: int) -> tuple[str, str]:
    """Official ids of a frontal and a lateral image; of CXR1 the lateral one comes first, as in the archive."""
    if uid == 1:
        return "CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"
    return f"CXR{uid}_IM-{uid:04d}-1001", f"CXR{uid}_IM-{uid:04d}-2001"


def kaggle_name(image: str) -> str:
    return f"{image.removeprefix('CXR1_').removeprefix('CXR')}.dcm.png"


def view(image: str) -> str:
    return "Lateral" if image.endswith(("2001", "3001")) else "Frontal"


def xml(
    uid: str,
    images: Sequence[str] = (),
    *,
    major: str = "normal",
    automatic: Sequence[str] = (),
    findings: str = FINDINGS,
    impression: str = IMPRESSION,
) -> str:
    """A report with the elements that are read, in their places."""
    sections = {"COMPARISON": "None.", "INDICATION": "Cough", "FINDINGS": findings, "IMPRESSION": impression}
    texts = "".join(f'<AbstractText Label="{name}">{text}</AbstractText>' for name, text in sections.items())
    terms = f"<major>{major}</major>" + "".join(f"<automatic>{term}</automatic>" for term in automatic)
    pictures = "".join(f'<parentImage id="{image}"><caption>Chest</caption></parentImage>' for image in images)
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<eCitation><meta type="rr"/><uId id="{uid}"/>'
        f"<MedlineCitation><Article><Abstract>{texts}</Abstract></Article></MedlineCitation>"
        f"<MeSH>{terms}</MeSH>{pictures}</eCitation>"
    )


def draw(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), number).save(path)


def open_i_folder(root: Path) -> Path:
    """30 patients with two images each, and patient 31 without any."""
    (root / "ecgen-radiology").mkdir(parents=True)
    for uid in [*PATIENTS, 31]:
        major, automatic = CASES[(uid - 1) % len(CASES)]
        images = ids(uid) if uid in PATIENTS else ()
        text = xml(f"CXR{uid}", images, major=major, automatic=automatic)
        (root / f"ecgen-radiology/{uid}.xml").write_text(text, encoding="utf-8")
        for number, image in enumerate(images):
            draw(root / "NLMCXR_png" / f"{image}.png", 4 * uid + number)
    return root


def archive(root: Path) -> Path:
    """The reports as ``NLMCXR_reports.tgz`` in place of the folder."""
    with tarfile.open(root / "NLMCXR_reports.tgz", "w:gz") as file:
        file.add(root / "ecgen-radiology", "ecgen-radiology")
    for path in (root / "ecgen-radiology").iterdir():
        path.unlink()
    (root / "ecgen-radiology").rmdir()
    return root / "NLMCXR_reports.tgz"


def projections(root: Path) -> Path:
    """Kaggle's table of views."""
    rows = [f"{uid},{kaggle_name(image)},{view(image)}" for uid in PATIENTS for image in ids(uid)]
    path = root / "indiana_projections.csv"
    path.write_text("\n".join(["uid,filename,projection", *rows]) + "\n")
    return path


def kaggle_folder(root: Path, *, images: str = "images/images_normalized") -> Path:
    rows = ["uid,MeSH,Problems,image,indication,comparison,findings,impression"]
    for uid in PATIENTS:
        major, _ = CASES[(uid - 1) % len(CASES)]
        rows.append(f'{uid},{major};Spine,{major.split("/")[0]},"Chest, 2 views",Cough,None.,{FINDINGS},{IMPRESSION}')
        for number, image in enumerate(ids(uid)):
            draw(root / images / kaggle_name(image), 4 * uid + number)
    (root / "indiana_reports.csv").write_text("\n".join(rows) + "\n")
    projections(root)
    return root


def r2gen_folder(root: Path, *, test_key: str = "test") -> Path:
    """20 / 4 / 6 studies; the key of the test list is blanked out in one public copy."""
    lists: dict[str, list[dict]] = {"train": [], "val": [], test_key: []}
    for uid in PATIENTS:
        split = "train" if uid <= 20 else "val" if uid <= 24 else "test"
        name = f"CXR{uid}_IM-{uid:04d}"
        paths = [f"{name}/0.png", f"{name}/1.png"]
        for number, path in enumerate(paths):
            draw(root / "images" / path, 4 * uid + number)
        item = {"id": name, "report": FINDINGS, "image_path": paths, "split": split}
        lists[test_key if split == "test" else split].append(item)
    (root / "annotation.json").write_text(json.dumps(lists))
    return root


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    return {"root": str(folder if (folder / "ecgen-radiology").is_dir() else open_i_folder(folder))}
