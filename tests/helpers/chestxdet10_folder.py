"""A folder in the official layout of ChestX-Det10, drawn by PIL."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

MARKS = (
    (["Nodule"], [[233, 666, 258, 693]]),  # the official first item
    ([], []),
    (["Effusion", "Effusion", "Atelectasis"], [[0, 512, 256, 1024], [768, 512, 1024, 1024], [100, 100, 200, 150]]),
    (["Fracture", "Consolidation"], [[10, 20, 30, 40], [0, 0, 1024, 1024]]),
)
"""``syms`` and ``boxes`` of the images in turn."""


def item(name: str, syms: list[str], boxes: list[list[int]]) -> dict:
    return {"file_name": name, "syms": syms, "boxes": boxes}


def write(path: Path, items: object) -> None:
    path.write_text(json.dumps(items))


def det10_folder(root: Path) -> Path:
    """24 training and 8 test images; two numbers occur in both parts."""
    for part, numbers in (("train", range(36200, 36224)), ("test", range(36222, 36230))):
        folder = root / f"{part}_data"
        folder.mkdir(parents=True)
        for number in numbers:
            Image.new("L", (8, 8), number % 97 + 100 * (part == "test")).save(folder / f"{number}.png")
        write(root / f"{part}.json", [item(f"{n}.png", *MARKS[i % len(MARKS)]) for i, n in enumerate(numbers)])
    return root


def settings(folder: Path) -> dict[str, str]:
    """What builds a small data module in ``folder``, for the contract tests."""
    return {"root": str(folder if (folder / "train.json").is_file() else det10_folder(folder))}
