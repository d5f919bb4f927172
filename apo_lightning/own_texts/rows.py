"""Where the rows of a file begin and end, and what a cell of them holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from apo_lightning import prompts
from apo_lightning.errors import ConfigError, DataError
from apo_lightning.files.bounded import is_gzip, open_bytes, text_lines
from apo_lightning.files.kinds import foreign
from apo_lightning.files.limits import MAX_TABLE_BYTES
from apo_lightning.own_texts import names, shapes
from apo_lightning.own_texts.shapes import Item
from apo_lightning.trajectories import records
from apo_lightning.trajectories.importers import ms_swift
from data_modules.tables import MISSING_ID


def suffix(path: Path) -> str:
    return (path.with_suffix("") if is_gzip(path) else path).suffix.lower()


def kind(path: Path) -> str:
    """``table``, ``lines`` of JSON or a ``document``, by what the file holds where its name may mean either."""
    ending = suffix(path)
    if ending in (".csv", ".tsv", ".parquet"):
        return "table"
    try:
        with open_bytes(path, MAX_TABLE_BYTES) as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise records.unreadable(path, error) from None
    if what := foreign(head[:512]):
        raise DataError(f"{path}: is no file of JSON lines but {what}.")
    text = head.decode("utf-8-sig", "replace").replace("\0", "").lstrip("\ufeff\ufffd \t\r\n")
    if ending not in (".json", ".jsonl", ".ndjson") and text[:1] not in ("{", "["):
        return "table"
    line, end, rest = text.partition("\n")
    if _is_object(line) or (text[:1] == "{" and not end and len(head) == 1 << 16):
        return "lines" if ending != ".json" or rest.lstrip()[:1] == "{" else "document"
    return "document" if ending == ".json" or text[:1] == "[" or line.strip() == "{" else "lines"


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    if not is_gzip(path):
        yield from records.lines(path)
        return
    for number, line in enumerate(text_lines(path, "utf-8-sig", MAX_TABLE_BYTES), 1):
        if line.strip():
            yield number, line.encode()


def is_own(row: Mapping[str, Any]) -> bool:
    """Whether a line is of this project's own forms, whose every key is known."""
    if row.keys() <= set(records.KEYS) and {"study", "teacher"} <= row.keys():
        return isinstance(row["study"], str) and row.get("text", "") is not None
    return row.keys() <= set(records.IMAGE_KEYS) and "trajectories" in row


def is_ms_swift(row: Mapping[str, Any], columns: Mapping[str, str]) -> bool:
    """Rows for SFT or DPO that do not name their teacher."""
    named = columns.get("teacher") or names.usual(row, names.TEACHER)
    return "messages" in row and "images" in row and ("rejected_response" in row or not named)


def ms_swift_items(path: Path, columns: Mapping[str, str]) -> Iterator[Item]:
    rows = ms_swift.read(path, teacher_key=columns.get("teacher", ""))
    yield from (Item(f"{path.name}, image '{row['image'][0]}'", row) for row in rows)


def several(value: Any) -> Iterator[tuple[str, str | None]]:
    """Texts by teacher, or a list of objects that name them."""
    if isinstance(value, dict):
        yield from ((name, cleaned(shapes.words_of(text))) for name, text in value.items())
        return
    for one in value:
        row = one if isinstance(one, dict) else {"text": one}
        own = names.layout(list(row))
        yield shapes.name_of(row.get(own.teacher)) if own.teacher else "", text_of(row.get(own.text or ""), "", row)


def text_of(value: Any, key: str, row: Mapping[str, Any]) -> str | None:
    """As it is; None where nothing stands there. An empty text is one where the file tells it from none."""
    text = shapes.words_of(value)
    return text if text == "" and is_own(row) else cleaned(text)


def cleaned(text: str | None) -> str | None:
    """None for what writers of tables put where there is no text."""
    return None if text is None or text.strip().casefold() in MISSING_ID else text


def place(row: Mapping[str, Any]) -> float | None:
    return float(row["t"]) if is_own(row) and row.get("t") is not None else None


def prompt(row: Mapping[str, Any]) -> str:
    """The name of a prompt; what else stands there is the question itself."""
    given = row.get("prompt")
    return given if isinstance(given, str) and (is_own(row) or _is_prompt(given)) else ""


@lru_cache(maxsize=1024)
def _is_prompt(name: str) -> bool:
    if len(name) > 60 or not name.replace("_", "").isalnum():
        return False
    try:
        prompts.load(name)
    except ConfigError:
        return False
    return True


def extras(header: list[str]) -> list[str]:
    return [name for name in header if name == "prompt"]
