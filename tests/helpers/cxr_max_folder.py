"""A small CXR-MAX in this project's file: MIMIC-CXR's layout of images, drawn by PIL, and two made-up teachers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

LABELS = (["Atelectasis", "Pleural Effusion"], ["No Finding"], ["Edema", "Support Devices"], ["Cardiomegaly"])
PATIENTS = range(10_000_032, 10_000_072)


def line(patient: int, number: int, **more: Any) -> dict[str, Any]:
    """One image of a patient; labels go round ``LABELS``."""
    study = 50_000_000 + patient % 1_000 * 10 + number
    labels = LABELS[(patient + number) % len(LABELS)]
    return {
        "id": f"s{study}",
        "image": f"files/p{patient // 1_000_000}/p{patient}/s{study}/{study:08x}.jpg",
        "labels": labels,
        "report": f"FINDINGS: {', '.join(labels)}.",
        "trajectories": {"gpt5": f"There is {labels[0].lower()}.", "grok4": f"I see {labels[-1].lower()}."},
        **more,
    }


def lines() -> list[dict[str, Any]]:
    """40 patients, every fourth with two images."""
    return [line(patient, number) for patient in PATIENTS for number in range(2 if patient % 4 == 0 else 1)]


def write(path: Path, rows: list[Any]) -> Path:
    """JSON Lines; strings are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def draw(root: Path, rows: list[Any]) -> None:
    """The images of the rows, 8 px, each of another grey."""
    for number, row in enumerate(rows):
        path = root / row["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number * 4).save(path)


def cxr_max_folder(root: Path) -> Path:
    write(root / "cxr_max.jsonl", lines())
    draw(root, lines())
    return root


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    return {"root": str(folder if (folder / "files").is_dir() else cxr_max_folder(folder))}
