"""JSON of any usual shape as rows: lists of rows, rows by image, texts by image and teacher, columns, wrapped in an
object with other keys, and what the interfaces of model vendors answer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apo_lightning.own_texts.names import ID, IMAGE, STUDY, TEACHER, TEXT, TEXTS, layout, usual
from data_modules.tables.headers import same

WRAPPERS = frozenset(
    map(
        same,
        (*TEXTS, "data", "records", "rows", "items", "samples", "studies", "images", "entries", "examples", "cases"),
    )
)
"""Keys behind which the rows of a document stand."""
IMAGE_NAME = re.compile(r"\.(?:jpe?g|png|dcm|dicom|tiff?|bmp|webp|gif)$", re.IGNORECASE)
INSIDE = (
    "message",
    "messages",
    "response",
    "body",
    "choices",
    "content",
    "text",
    "output",
    "answer",
    "parts",
    "result",
)
"""Where an answer's words stand in what a vendor's interface gives."""
DEEP = 8


@dataclass(frozen=True)
class Item:
    """A row, and the study and teacher under whose names it stands, where it does."""

    where: str
    row: Mapping[str, Any]
    study: str | None = None
    teacher: str | None = None


def items(document: Any, file: str) -> Iterator[Item]:
    """Rows of a document, in its order.

    Raises:
        ValueError: it is of no shape that is known.
    """
    document = _unwrapped(document)
    if isinstance(document, list):
        yield from (_item(f"{file}, item {number}", row) for number, row in enumerate(document, 1))
    elif isinstance(document, Mapping):
        yield from _of_object(document, file)
    else:
        raise ValueError(f"holds {type(document).__name__}, no rows")


def _item(where: str, row: Any, study: str | None = None, teacher: str | None = None) -> Item:
    """What is no object is the text of whoever it stands under, or a row without anything."""
    if not isinstance(row, Mapping):
        row = {"text": row} if study or teacher else {}
    return Item(where, row, study, teacher)


def _unwrapped(document: Any, depth: int = 0) -> Any:
    """Behind ``data``, ``results`` or the like, of an object that is no row itself."""
    if not isinstance(document, Mapping) or depth > 2 or _is_row(document):
        return document
    if {"columns", "data"} <= document.keys() and isinstance(document["columns"], list):  # pandas, orient="split"
        return [dict(zip(document["columns"], row, strict=False)) for row in document["data"]]
    inside = [value for key, value in document.items() if same(key) in WRAPPERS and isinstance(value, list | dict)]
    return _unwrapped(inside[0], depth + 1) if len(inside) == 1 else document


def _is_row(row: Mapping[str, Any]) -> bool:
    return usual(row, (*STUDY, *IMAGE, *ID)) is not None and usual(row, (*TEXT, *TEXTS)) is not None


def _of_object(document: Mapping[str, Any], file: str) -> Iterator[Item]:
    values = list(document.values())
    if _is_row(document):
        yield from _columns(document, file)
    elif values and all(isinstance(value, str) for value in values):  # texts by image
        yield from (_item(f"{file}, key '{key}'", value, study=key) for key, value in document.items())
    elif values and all(isinstance(value, list | Mapping) for value in values):
        yield from _nested(document, file)
    else:
        raise ValueError(f"is an object with the keys {', '.join(list(document)[:8])}, and no rows behind them")


def _columns(document: Mapping[str, Any], file: str) -> Iterator[Item]:
    """One row, or columns of the same length or with the same keys, as pandas writes them."""
    values = list(document.values())
    if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        places: Sequence[Any] = range(len(values[0]))
    elif all(isinstance(value, Mapping) for value in values) and all(v.keys() == values[0].keys() for v in values):
        places = list(values[0])
    else:
        yield _item(file, document)
        return
    for place in places:
        yield _item(f"{file}, item {place}", {key: value[place] for key, value in document.items()})


def _nested(document: Mapping[str, Any], file: str) -> Iterator[Item]:
    """By image or by teacher: lists of rows, rows, or texts."""
    teachers_first = _teachers_first(document)
    for key, value in document.items():
        where = f"{file}, key '{key}'"
        if isinstance(value, list):
            for number, row in enumerate(value, 1):
                yield _under(f"{where}, item {number}", key, row)
        elif layout(list(value)).text and not all(isinstance(one, Mapping) for one in value.values()):
            yield _under(where, key, value)
        else:
            for name, text in value.items():
                study, teacher = (name, key) if teachers_first else (key, name)
                yield _item(f"{where}, key '{name}'", text, study=study, teacher=teacher)


def _under(where: str, key: str, row: Any) -> Item:
    """A row under the name of its image, or, where it names that itself, of its teacher."""
    own = isinstance(row, Mapping) and usual(row, (*STUDY, *IMAGE))
    teacher = own and not usual(row, TEACHER) and not IMAGE_NAME.search(key)
    return _item(where, row, teacher=key) if teacher else _item(where, row, study=key)


def _teachers_first(document: Mapping[str, Any]) -> bool:
    inner = list(dict.fromkeys(name for value in document.values() if isinstance(value, Mapping) for name in value))
    images = [sum(IMAGE_NAME.search(name) is not None for name in names) for names in (document, inner)]
    if any(images):
        return images[1] / max(len(inner), 1) > images[0] / len(document)
    return len(inner) > len(document) > 1


def words_of(value: Any, depth: int = 0) -> str | None:
    """The text that a value holds: itself, or what a vendor's interface wraps in messages, parts and choices; None
    where there is none.

    >>> words_of({"choices": [{"message": {"role": "assistant", "content": "No edema."}}]})
    'No edema.'
    >>> words_of([{"type": "text", "text": "No "}, {"type": "text", "text": "edema."}])
    'No edema.'
    """
    if isinstance(value, str):
        return value
    if depth > DEEP or not isinstance(value, list | Mapping):
        return None
    if isinstance(value, Mapping):
        return next((said for key in INSIDE if (said := words_of(value.get(key), depth + 1)) is not None), None)
    if turns := [one for one in value if isinstance(one, Mapping) and "role" in one]:
        value = [one for one in turns if one["role"] == "assistant"][-1:]
    elif value and isinstance(value[0], Mapping) and "message" in value[0]:
        value = value[:1]
    parts = [said for one in value if (said := words_of(one, depth + 1)) is not None]
    return "".join(parts) if parts else None


def model_of(value: Any, depth: int = 0) -> str | None:
    """The model that a vendor's answer names."""
    if not isinstance(value, Mapping) or depth > DEEP:
        return None
    if isinstance(value.get("model"), str):
        return value["model"]
    return next((name for key in INSIDE if (name := model_of(value.get(key), depth + 1))), None)


def name_of(value: Any) -> str:
    """What a cell names: text, a whole number, the first of several; "" where it names nothing.

    >>> name_of(7.0), name_of(["a.png", "b.png"]), name_of(float("nan"))
    ('7', 'a.png', '')
    """
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, Mapping):
        value = value.get("path")
    if isinstance(value, float):
        value = "" if math.isnan(value) else int(value) if value.is_integer() else value
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
