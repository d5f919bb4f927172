"""Rows as ms-swift trains on them, a JSON list or JSON lines.

    {"messages": [{"role": "user", "content": "<image>..."}, {"role": "assistant", "content": "..."}],
     "images": ["files/..."], "rejected_response": "..."}

Without ``rejected_response`` (or with null) a row is for SFT, and the assistant's message is a teacher's text. With it
a row is for DPO: the assistant's message is the preferred text, which repeats over the rows of an image, and the
rejected one is a teacher's. What the system and the user say is not kept: prompts are this project's own. Rows have no
labels, so all findings of what is imported are unknown.

Rows do not say which teacher wrote them. Without ``teacher`` or ``teacher_key`` they are numbered in the order in which
they come for one image in one file, ``teacher1``, ``teacher2``, ...: right where every image has its rows in the same
order of teachers, and otherwise a mixture of teachers under one name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.trajectories.importers.merging import Piece, Problems, merge
from apo_lightning.trajectories.importers.reading import files, image_paths, items, short
from apo_lightning.types import PREFERRED

KEYS = ("messages", "images", "rejected_response")
ROLES = (("user", "assistant"), ("system", "user", "assistant"))
TAG = "<image>"


def read(
    source: Path, *, teacher: str = "", teacher_key: str = "", preferred: str = PREFERRED, images_root: str = ""
) -> list[dict[str, Any]]:
    """Own lines, one an image.

    Args:
        source: a file, or a folder of them, such as one for SFT and one for DPO.
        teacher: name, or names with commas between in the order in which the rows of an image come.
        teacher_key: extra key of the rows that names the teacher.
        preferred: name under which the preferred text is kept.
        images_root: folder that is cut off in front of image paths.

    Raises:
        DataError: naming file, item and key of what cannot be read, contradicts or comes twice.
    """
    names = [name.strip() for name in teacher.split(",") if name.strip()]
    if names and teacher_key:
        raise DataError("Give teacher or teacher_key, not both.")
    if preferred in names or len(set(names)) < len(names) or not preferred.strip():
        raise DataError(f"teacher names must differ from each other and from preferred='{preferred}', got '{teacher}'.")
    problems, pieces = Problems(), []
    for path in files(source):
        naming = _Naming(names, teacher_key, preferred)
        for where, row in items(path, problems):
            with problems.at(where):
                pieces.append(_piece(where, row, naming, images_root))
    rows = merge(pieces, problems)
    problems.refuse(source)
    return rows


class _Naming:
    """Names the teachers of one file."""

    def __init__(self, names: Sequence[str], key: str, preferred: str) -> None:
        self.names, self.key, self.preferred = names, key, preferred
        self.seen: Counter[tuple[bool, tuple[str, ...]]] = Counter()
        self.first: dict[tuple[bool, tuple[str, ...], str], str] = {}

    def name(self, row: dict[str, Any], images: tuple[str, ...], is_pair: bool, where: str) -> str:
        """
        Raises:
            ValueError: the row does not say, there are more texts than names, or the teacher has one of this image.
        """
        self.seen[is_pair, images] += 1
        number = self.seen[is_pair, images]
        if self.key:
            name = row.get(self.key)
            if not isinstance(name, str) or not name.strip() or name == self.preferred:
                raise ValueError(f"'{self.key}' must name the teacher, got {short(name)}")
        elif self.names:
            if number > len(self.names):
                raise ValueError(f"image '{images[0]}' has more texts than teacher names: {', '.join(self.names)}")
            name = self.names[number - 1]
        else:
            name = f"teacher{number}"
        place = self.first.setdefault((is_pair, images, name), where)
        if place != where:
            raise ValueError(f"image '{images[0]}' has a text of teacher '{name}' in {place}")
        return name


def _piece(where: str, row: Any, naming: _Naming, images_root: str) -> Piece:
    known = (*KEYS, naming.key) if naming.key else KEYS
    if not isinstance(row, dict):
        raise ValueError(f"expected an object with the keys {', '.join(known)}, got {short(row)}")
    for key in row:
        if key not in known:
            raise ValueError(f"unknown key '{key}'. {did_you_mean(key, known)}")
    answer, tags = _answer(row.get("messages"))
    if not isinstance(row.get("images"), list):
        raise ValueError(f"'images' must be a list of paths, got {short(row.get('images'))}")
    images = image_paths(row["images"], images_root)
    if tags not in (0, len(images)):  # without any, ms-swift puts all images in front
        raise ValueError(f"messages have {tags} times {TAG}, but there are {len(images)} images")
    rejected = row.get("rejected_response")
    if rejected is None:
        texts = {naming.name(row, images, False, where): answer}
    elif isinstance(rejected, str):
        texts = {naming.preferred: answer, naming.name(row, images, True, where): rejected}
    else:
        raise ValueError(f"'rejected_response' must be a string, got {short(rejected)}")
    return Piece(where, None, images, texts, again=frozenset(texts))


def _answer(messages: Any) -> tuple[str, int]:
    """The assistant's text, and how often images are named.

    Raises:
        ValueError: not one question and one answer.
    """
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError(f"'messages' must be a list of messages, got {short(messages)}")
    for message in messages:
        for key in message:
            if key not in ("role", "content"):
                raise ValueError(f"unknown key '{key}' of a message. {did_you_mean(key, ('role', 'content'))}")
        if not isinstance(message.get("content"), str):
            raise ValueError(f"the content of a message must be a string, got {short(message.get('content'))}")
    roles = tuple(message.get("role") for message in messages)
    if roles not in ROLES:
        raise ValueError(f"messages must be [system,] user, assistant; got {', '.join(map(str, roles)) or 'none'}")
    return messages[-1]["content"], sum(message["content"].count(TAG) for message in messages)
