"""A folder with one JSON per teacher, named by its file: ``gpt5.json``, ``grok4.jsonl``, ...

A file is an object of texts by image or id, or a list of objects (or JSON lines):

    {"files/p10/p10000032/s50414267/x.jpg": "Edema. ...", ...}
    [{"image": "files/...", "text": "Edema. ...", "labels": ["Edema"], "report": "...", "id": "s1"}, ...]

A key of the first form is a path where it ends like an image file, otherwise an id.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from apo_lightning.trajectories.importers.merging import Problems, merge
from apo_lightning.trajectories.importers.reading import ALIASES, TEXT, files, items, own_keys, parse_columns, piece

KEYS = {**ALIASES, "text": TEXT}
IMAGE_SUFFIX = re.compile(r"\.(jpe?g|png|dcm|dicom|tiff?|bmp|webp)$", re.IGNORECASE)


def read(source: Path, *, images_root: str = "", image_of: str = "", columns: str = "") -> list[dict[str, Any]]:
    """Own lines, one an image.

    Args:
        source: the folder, or one file of it.
        images_root: folder that is cut off in front of image paths.
        image_of: path of an image of which no file says more than its id, such as ``images/{id}.jpg``.
        columns: ``theirs:ours,...`` for other names of keys; ``theirs:-`` leaves one out.

    Raises:
        DataError: naming file, item and key of what cannot be read, contradicts or comes twice.
    """
    problems, pieces, renamed = Problems(), [], parse_columns(columns, KEYS)
    for path in files(source):
        for where, item in items(path, problems, of_key=_of_key):
            with problems.at(where):
                content = own_keys(item, KEYS, renamed)
                if "text" not in content:
                    raise ValueError(f"has no text; it may be called {', '.join(TEXT)}")
                pieces.append(piece(where, content, {path.stem: content.pop("text")}, images_root))
    rows = merge(pieces, problems, image_of)
    problems.refuse(source)
    return rows


def _of_key(key: str, text: Any) -> dict[str, Any]:
    return {"image" if IMAGE_SUFFIX.search(key) else "id": key, "text": text}
