"""The released CXR-MAX, by a guess.

File names, columns and split of the release were not found when this was written; its data card gives none. The guess:
JSON lists or JSON lines whose rows have the keys of this project's own file, under the same or an obvious other name,
with either all texts of an image in one object or one text and its teacher per row:

    {"image": "files/...", "labels": ["Edema"], "trajectories": {"GPT-5-nano": "Edema. ...", ...}}
    {"image": "files/...", "labels": ["Edema"], "model": "GPT-5-nano", "response": "Edema. ..."}

Any other key is refused: give it a meaning by ``columns``. A release with one file a model is for ``teacher_folder``,
and one in ms-swift's rows for ``ms_swift``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apo_lightning.trajectories.importers.merging import Problems, merge
from apo_lightning.trajectories.importers.reading import (
    ALIASES,
    TEXT,
    files,
    items,
    own_keys,
    parse_columns,
    piece,
    short,
)

KEYS = {
    **ALIASES,
    "trajectories": ("trajectories", "responses"),
    "teacher": ("teacher", "model", "model_name"),
    "text": TEXT,
}
HINT = (
    "The columns of the released CXR-MAX were not known when this importer was written, so it takes what it guesses. "
    "Name others by columns=theirs:ours,..., or leave them out by columns=theirs:-."
)


def read(source: Path, *, images_root: str = "", image_of: str = "", columns: str = "") -> list[dict[str, Any]]:
    """Own lines, one an image.

    Args:
        source: a file, or a folder of them.
        images_root: folder that is cut off in front of image paths.
        image_of: path of an image of which no file says more than its id, such as ``images/{id}.jpg``.
        columns: ``theirs:ours,...`` for other names of keys; ``theirs:-`` leaves one out.

    Raises:
        DataError: naming file, item and key of what cannot be read, contradicts or comes twice.
    """
    problems, pieces, renamed = Problems(), [], parse_columns(columns, KEYS)
    for path in files(source):
        for where, item in items(path, problems):
            with problems.at(where):
                content = own_keys(item, KEYS, renamed)
                pieces.append(piece(where, content, _texts(content), images_root))
    rows = merge(pieces, problems, image_of)
    problems.refuse(source, HINT)
    return rows


def _texts(content: dict[str, Any]) -> dict[str, Any]:
    many, teacher, text = (content.get(key) for key in ("trajectories", "teacher", "text"))
    if many is not None and teacher is None and text is None:
        if not isinstance(many, dict):
            raise ValueError(f"'trajectories' must be an object of texts by teacher, got {short(many)}")
        return many
    if many is None and isinstance(teacher, str) and teacher.strip() and text is not None:
        return {teacher: text}
    raise ValueError("must have either 'trajectories', or 'teacher' and 'text'")
