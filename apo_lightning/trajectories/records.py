"""Files of trajectories: JSON Lines in two forms, which one file may mix.

A line a trajectory, as ``collect`` writes them; ``t`` and ``prompt``, the name of what was asked, are optional:

    {"study": "s1", "teacher": "gpt5", "text": "No edema. ...", "t": 0.25, "prompt": "diagnose"}

A line an image with all its trajectories, as the importers write them; the data set ``cxr_max`` reads the same file:

    {"id": "s1", "image": "files/p10/p10000032/s50414267/x.jpg", "labels": ["Edema"], "report": "...",
     "patient": "10000032", "split": "train", "trajectories": {"gpt5": "Edema. ...", "grok4": "..."}}

``image`` is one path, or a list of them where a study has several. ``labels``, ``report``, ``patient``, ``split`` and
``prompt``, what all of its teachers were asked, may be absent or null. Texts are kept as they are: nothing is trimmed,
and an empty text is a text. `jsonlines` says what a line is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError, DataError, did_you_mean
from apo_lightning.files import jsonlines
from apo_lightning.files.characters import HALF
from apo_lightning.files.jsonlines import short
from apo_lightning.files.kinds import foreign
from apo_lightning.hashing import inventory

KEYS = ("study", "teacher", "text", "t", "prompt")
"""Of a line that is one trajectory."""
IMAGE_KEYS = ("id", "image", "labels", "report", "patient", "split", "prompt", "trajectories")
"""Of a line that is one image."""


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line number and content of the lines that are not blank.

    Raises:
        DataError: the file cannot be read, or is of another kind.
        ArtifactError: a run wrote it, and it is not what was written.
    """
    if what := inventory.difference(path):
        raise ArtifactError(f"{path} {what}. {jsonlines.again(path.parent)}")
    try:
        with path.open("rb") as file:
            what = foreign(file.read(512))
        if what:
            raise DataError(f"{path}: is no file of JSON lines but {what}.")
        yield from jsonlines.lines(path)
    except jsonlines.TooLong as error:
        raise DataError(f"{error} Write one trajectory, or one image, a line.") from None
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: str | Path, error: OSError) -> DataError:
    return DataError(f"Cannot read trajectories from {path}: {error.strerror}. Give the path of a file of texts.")


def parse(line: bytes) -> dict[str, Any]:
    """One line as a checked row, of either form.

    Raises:
        ValueError: it is no JSON object, lacks a key, has an unknown one, or a value is of another type.
    """
    try:
        row = jsonlines.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno}). One line is one JSON object.") from None
    if not isinstance(row, dict):
        forms = f"{', '.join(KEYS)}, or {', '.join(IMAGE_KEYS)}"
        raise ValueError(f"expected a JSON object with the keys {forms}, got {short(row)}")
    (check_image if is_image(row) else _check_trajectory)(row)
    return row


def is_image(row: Mapping[str, Any]) -> bool:
    """Whether a row's keys are rather those of an image than those of a trajectory."""
    return len(row.keys() & set(IMAGE_KEYS)) > len(row.keys() & set(KEYS))


def check_image(row: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: this is not a row of the form with one line per image.
    """
    _refuse_unknown(row, IMAGE_KEYS)
    _require("id", row, _is_name(row.get("id")), "a string that is not empty")
    image = row.get("image")
    paths = image if isinstance(image, list) and image else [image]
    _require("image", row, all(map(_is_name, paths)), "a path or a list of paths")
    for key in ("report", "patient", "split", "prompt"):
        _require(key, row, isinstance(row.get(key), str | None), "a string")
    labels = row.get("labels")
    names = labels is None or (isinstance(labels, list) and all(isinstance(name, str) for name in labels))
    _require("labels", row, names, "a list of names")
    texts = row.get("trajectories")
    _require("trajectories", row, isinstance(texts, dict), "an object of texts by teacher")
    _refuse_halves({**row, "trajectories": list(texts)}, IMAGE_KEYS)
    for teacher, text in texts.items():
        if not teacher.strip() or not isinstance(text, str):
            raise ValueError(f"'trajectories' must name teachers with a text each, got {short({teacher: text})}")


def read(path: Path) -> list[dict[str, Any]]:
    """All trajectories of a file in order, as rows with the ``KEYS``, ``t`` and ``prompt`` only where it has them.

    Raises:
        DataError: the file is missing, a line is malformed, or a (study, teacher) stands there twice.
    """
    rows, first = [], {}
    for number, line in lines(path):
        try:
            row = parse(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        for item in _flat(row):
            key = (item["study"], item["teacher"])
            if key in first:
                raise DataError(
                    f"{path}: study '{key[0]}' of teacher '{key[1]}' stands on lines {first[key]} and {number}. "
                    "A teacher answers a study once: remove one of them."
                )
            first[key] = number
            rows.append(item)
    return rows


def write(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one line per row; whoever reads ``path`` meanwhile sees the old file or the whole new one."""
    jsonlines.write(Path(path), rows)


def _flat(row: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a trajectory."""
    if not is_image(row):
        return [row]
    asked = {"prompt": row["prompt"]} if row.get("prompt") else {}
    return [{"study": row["id"], "teacher": name, "text": text, **asked} for name, text in row["trajectories"].items()]


def _check_trajectory(row: Mapping[str, Any]) -> None:
    _refuse_unknown(row, KEYS)
    for key in ("study", "teacher", "text"):
        _require(key, row, isinstance(row.get(key), str), "a string")
    _require("prompt", row, isinstance(row.get("prompt"), str | None), "a string")
    _refuse_halves(row, ("study", "teacher", "prompt"))
    place = row.get("t", 0.0)
    number = isinstance(place, int | float) and not isinstance(place, bool)
    _require("t", row, number and 0 <= place <= 1, "a number in [0, 1]")


def _refuse_unknown(row: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in row:
        if key not in known:
            raise ValueError(f"unknown key '{key}'. {did_you_mean(key, known)}")


def _require(key: str, row: Mapping[str, Any], right: bool, what: str) -> None:
    if not right:
        raise ValueError(f"'{key}' must be {what}, got {short(row[key]) if key in row else 'nothing'}")


def _refuse_halves(row: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Names must be the same wherever they are written; in a teacher's text half a character is replaced and counted
    where the texts are collected."""
    for key in keys:
        values = row.get(key)
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str) and HALF.search(value):
                raise ValueError(
                    f"'{key}' holds half a character (a lone surrogate): {short(value)}. It was cut inside a "
                    "character, as by a limit in UTF-16 units. Correct it"
                )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
