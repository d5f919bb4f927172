"""JSON of others: items with their place, keys under other names, and paths."""

from __future__ import annotations

import json
import logging
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.files.bounded import open_bytes, refuse_many_values
from apo_lightning.files.jsonlines import document, loads, short
from apo_lightning.files.limits import MAX_JSON_BYTES
from apo_lightning.identifiers import forms
from apo_lightning.trajectories.importers.merging import Piece, Problems
from apo_lightning.trajectories.records import lines

log = logging.getLogger(__name__)

SUFFIXES = (".json", ".jsonl")
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "study", "study_id", "uid", "dicom_id"),
    "image": ("image", "images", "image_path", "img", "img_path", "path", "file", "file_name", "filename"),
    "labels": ("labels", "label"),
    "report": ("report", "radiology_report"),
    "patient": ("patient", "patient_id", "subject_id"),
    "split": ("split",),
}
"""Key of an own line to what others call it."""
TEXT = ("text", "response", "answer", "output", "trajectory", "reasoning", "explanation")
DROP = "-"
"""Stands in ``columns`` for: leave this key out."""


def files(source: Path) -> list[Path]:
    """A file itself, or the JSON files of a folder in order of their names.

    Raises:
        DataError: there is none.
    """
    if source.is_dir():
        seen = sorted(path for path in source.iterdir() if not path.name.startswith("."))
        found = [path for path in seen if path.suffix in SUFFIXES]
        if not found:
            raise DataError(f"{source} has no {' and no '.join(SUFFIXES)} file. Give the folder that holds them.")
        if len(found) < len(seen):
            log.warning("%s: not read: %s", source, ", ".join(path.name for path in seen if path not in found))
        return found
    if not source.is_file():
        raise DataError(f"{source} is not there. Give a JSON or JSONL file, or a folder of them.")
    if source.suffix not in SUFFIXES:
        raise DataError(f"{source} must end in {' or '.join(SUFFIXES)}.")
    return [source]


def items(
    path: Path, problems: Problems, *, of_key: Callable[[str, Any], Any] | None = None
) -> Iterator[tuple[str, Any]]:
    """Place and content of every item: of a JSON list, of JSON lines, or a single object.

    Args:
        path: ``.json`` (which may hold JSON lines, as other tools write it) or ``.jsonl``.
        problems: takes what is no JSON.
        of_key: makes an item of one key of a single object and its value; without it the object is the one item.

    Raises:
        DataError: the file cannot be read.
    """
    content, whole = _whole(path, problems)
    if not whole:
        yield from _lines(path, problems)
    elif isinstance(content, list):
        yield from ((f"{path.name}, item {number}", item) for number, item in enumerate(content, 1))
    elif isinstance(content, dict) and of_key is not None:
        yield from ((f"{path.name}, key '{key}'", of_key(key, value)) for key, value in content.items())
    elif content is not None:
        yield path.name, content


def _whole(path: Path, problems: Problems) -> tuple[Any, bool]:
    """The content, None where there is no JSON, and whether the file is one JSON document."""
    if path.suffix == ".jsonl":
        return None, False
    try:
        with open_bytes(path, MAX_JSON_BYTES) as file:
            raw = file.read()
        refuse_many_values(path, raw)
        return document(raw), True
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None, False
        problems.append(f"{path.name}:{error.lineno}: not JSON ({error.msg} at column {error.colno})")
    except ValueError as error:
        problems.append(f"{path.name}: {error}")
    return None, True


def _lines(path: Path, problems: Problems) -> Iterator[tuple[str, Any]]:
    for number, line in lines(path):
        where = f"{path.name}:{number}"
        try:
            item = loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{where}: not JSON ({error.msg} at column {error.colno})")
        except ValueError as error:
            problems.append(f"{where}: {error}")
        else:
            yield where, item


def own_keys(item: Any, aliases: Mapping[str, tuple[str, ...]], columns: Mapping[str, str]) -> dict[str, Any]:
    """An item under this project's keys, without those whose value is null.

    Args:
        item: what a file has.
        aliases: own key to what it may be called.
        columns: further names of the file to own keys, or to ``-`` to leave them out; they go first.

    Raises:
        ValueError: it is no object, has an unknown key, or names one thing twice.
    """
    if not isinstance(item, dict):
        raise ValueError(f"expected an object, got {short(item)}")
    owner = {**{alias: key for key, names in aliases.items() for alias in names}, **columns}
    found: dict[str, tuple[str, Any]] = {}
    for name, value in item.items():
        if name not in owner:
            raise ValueError(f"unknown key '{name}'. {did_you_mean(name, owner)}")
        key = owner[name]
        if key == DROP or value is None:
            continue
        if key in found:
            raise ValueError(f"'{name}' and '{found[key][0]}' both give '{key}'")
        found[key] = (name, value)
    return {key: value for key, (_, value) in found.items()}


def parse_columns(text: str, known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """``theirs:ours,theirs:-`` as a mapping.

    Raises:
        DataError: another form, or ours is not a key that the format knows.
    """
    pairs = [pair.strip().rpartition(":") for pair in text.split(",") if pair.strip()]
    for theirs, mark, ours in pairs:
        if not (theirs and mark):
            raise DataError(f"columns must look like 'theirs:ours,theirs:{DROP}', got '{text}'.")
        if ours not in known and ours != DROP:
            raise DataError(f"columns: '{ours}' is no key of this format. {did_you_mean(ours, [*known, DROP])}")
    return {theirs: ours for theirs, _, ours in pairs}


def piece(where: str, content: Mapping[str, Any], texts: Mapping[str, Any], images_root: str) -> Piece:
    """What an item under own keys says of an image, checked.

    Raises:
        ValueError: a value has another type, or neither ``id`` nor ``image`` is there.
    """
    id_, image, labels = (content.get(key) for key in ("id", "image", "labels"))
    if id_ is None and image is None:
        raise ValueError("has neither an id nor an image")
    if labels is not None and not (isinstance(labels, list) and all(isinstance(name, str) for name in labels)):
        raise ValueError(f"'labels' must be a list of names, got {short(labels)}")
    for teacher, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"the text of '{teacher}' must be a string, got {short(text)}")
    facts = {key: _string(key, content[key]) for key in ("report", "patient", "split") if key in content}
    return Piece(
        where,
        None if id_ is None else forms.TEXT.quoting(_string("id", id_)),
        None if image is None else image_paths(image, images_root),
        dict(texts),
        {**facts, **({} if labels is None else {"labels": labels})},
    )


def _string(key: str, value: Any) -> str:
    """Text, or a whole number as text: others write ids as numbers."""
    if isinstance(value, float) and value.is_integer():
        value = forms.TEXT.quoting(str(value))
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not (text.strip() or key == "report"):
        raise ValueError(f"'{key}' must be a string that is not empty, got {short(value)}")
    return text


def image_paths(value: Any, images_root: str) -> tuple[str, ...]:
    """One path or several, relative to the folder of the images.

    Args:
        value: a string, ``{"path": string}``, or a list of these.
        images_root: folder that is cut off in front.

    Raises:
        ValueError: none or an embedded image, an address, or a path that is absolute or leads out of the folder.
    """
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError("has no image")
    return tuple(_relative(_path(one), images_root) for one in values)


def _path(value: Any) -> str:
    if isinstance(value, dict):
        if value.get("bytes") is not None:
            raise ValueError("images are embedded as bytes: write them to files and give their paths")
        if value.keys() - {"path", "bytes"}:
            raise ValueError(f"an image may have the keys path and bytes, got {', '.join(value)}")
        value = value.get("path")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"an image must be a path, got {short(value)}")
    return value


def _relative(path: str, images_root: str) -> str:
    if re.match(r"[a-z][a-z0-9+]+:", path, re.IGNORECASE):
        raise ValueError(f"image '{path}' is an address or embedded, not a file: fetch it and give its path")
    plain = posixpath.normpath(path.replace("\\", "/"))
    root = posixpath.normpath(images_root.replace("\\", "/")) if images_root else ""
    if root and plain.startswith(root.rstrip("/") + "/"):
        plain = plain[len(root.rstrip("/")) + 1 :]
    if plain.startswith("/") or re.match(r"[A-Za-z]:/", plain):
        raise ValueError(f"image '{path}' is an absolute path: give images_root=FOLDER, which is cut off in front")
    if plain.split("/")[0] == ".." or plain == ".":
        raise ValueError(f"image '{path}' leads out of the folder of the images")
    return plain
