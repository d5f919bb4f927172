"""JSON lines: the one reader and the one writer of the project.

A line ends with ``\\n`` (or ``\\r\\n``) and with nothing else: U+2028, U+2029, U+0085, form feeds and the like are
characters of a text. UTF-8, with or without a byte-order mark; blank lines are skipped; no object names a key twice.
What is written is readable as it stands, with those characters escaped for tools that split lines at them, and NaN and
infinities, which JSON does not know, are null.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.files import atomic
from apo_lightning.files.kinds import foreign
from apo_lightning.files.limits import MAX_JSON_LINE

BOM = b"\xef\xbb\xbf"
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What other tools take for the end of a line, and half characters, which UTF-8 cannot say."""


class TooLong(ValueError):
    """A line is longer than any that is read."""


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line number and content of the lines that are not blank.

    Raises:
        OSError: the file cannot be read.
        TooLong: a line has more than MAX_JSON_LINE bytes; no more of it was read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_JSON_LINE + 1), b""), 1):
            if len(line) > MAX_JSON_LINE:
                raise TooLong(
                    f"{path}:{number}: the line has more than {MAX_JSON_LINE:,} bytes, the most that is read."
                )
            if line.removeprefix(BOM).strip():
                yield number, line


def loads(text: bytes) -> Any:
    """One JSON document in UTF-8.

    Raises:
        json.JSONDecodeError: it is none; line and column are the error's own.
        ValueError: it is not UTF-8, too deeply nested, or an object names a key twice.
    """
    try:
        plain_text = text.removeprefix(BOM).rstrip(b"\r\n").decode("utf-8")  # or a cut line ends at "column 1"
        return json.loads(plain_text, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from None
    except RecursionError:
        raise ValueError("not JSON that can be read (too deeply nested)") from None
    except json.JSONDecodeError:
        if text[:2].count(b"\0") == 1:
            raise ValueError("not UTF-8 text (it holds NUL bytes, as UTF-16 does). Save it as UTF-8.") from None
        raise


def document(raw: bytes) -> Any:
    """A whole file as one JSON document, in UTF-8, UTF-16 or UTF-32.

    Raises:
        json.JSONDecodeError: it is none.
        ValueError: it is a file of another kind, damaged, or as `loads`.
    """
    if what := foreign(raw[:512]):
        raise ValueError(f"it is {what}")
    if not raw.strip(b" \t\r\n\0"):
        raise ValueError("it is empty")
    encoding = json.detect_encoding(raw)
    try:
        return loads(raw if encoding.startswith("utf-8") else raw.decode(encoding).encode())
    except UnicodeDecodeError:
        raise ValueError(f"not {encoding.upper()} text to its end; is it cut off?") from None


def parse(line: bytes, keys: Sequence[str] = ()) -> dict[str, Any]:
    """One line as an object.

    Args:
        keys: must be there.

    Raises:
        ValueError: it is none, or lacks one of the keys; the message names the column.
    """
    try:
        row = loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno}). One line is one JSON object.") from None
    if not isinstance(row, dict):
        raise ValueError(f"not a JSON object but {short(row)}. One line is one JSON object.")
    for key in keys:
        if key not in row:
            raise ValueError(f"lacks the key '{key}', has {', '.join(row) or 'none'}")
    return row


def read(path: Path, keys: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows of a file that this project wrote whole.

    Raises:
        ArtifactError: it is missing, or a line is no object with ``keys``; names line and column, and what to remove.
    """
    rows = []
    try:
        for number, line in lines(path):
            try:
                rows.append(parse(line, keys))
            except ValueError as error:
                raise _damaged(path, f"line {number}: {str(error).rstrip('.')}") from error
    except OSError as error:
        raise _damaged(path, error.strerror) from error
    except TooLong as error:
        raise _damaged(path, str(error).rstrip(".")) from error
    return rows


def _damaged(path: Path, what: str) -> ArtifactError:
    return ArtifactError(f"{path} is missing or damaged ({what}). {again(path.parent)}")


def again(folder: Path) -> str:
    """What to do about a damaged file of a stage, whose folder may be a link."""
    return f"Remove its folder, and the next run makes it again: {atomic.removal(folder.resolve())}"


@dataclass(frozen=True)
class Grown:
    """A file that grows a line at a time, as far as it can be read.

    Attributes:
        rows: whole rows in order.
        damaged: numbers of the lines that are none, without a last line that a kill cut off.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)


def read_grown(path: Path, keys: Sequence[str] = ()) -> Grown:
    """What can be read of a file that `append` writes. A missing file has nothing.

    Raises:
        OSError: it is there and cannot be read.
    """
    found = Grown()
    for number, line in lines(path) if path.exists() else ():
        try:
            found.rows.append(parse(line, keys))
        except ValueError:
            if line.endswith(b"\n"):
                found.damaged.append(number)
    return found


def dumps(row: Mapping[str, Any]) -> str:
    """One line without its end.

    >>> dumps({"text": "a\\u2028b", "loss": float("nan")})
    '{"text": "a\\\\u2028b", "loss": null}'
    """
    text = json.dumps(plain(row), ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """All rows or nothing.

    Raises:
        Unwritten: see `files.replacing`.
    """
    return atomic.write_text(path, "".join(f"{dumps(row)}\n" for row in rows))


def append(path: Path, row: Mapping[str, Any]) -> None:
    """One row at the end.

    Raises:
        Unwritten: see `files.append`.
    """
    atomic.append(path, f"{dumps(row)}\n".encode())


def plain(value: Any) -> Any:
    """Plain containers with null in the place of numbers that JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def short(value: object) -> str:
    """A value for an error message."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"key '{twice}' stands twice in one object")
    return row
