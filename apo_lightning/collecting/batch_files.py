"""What is on disk of a batch: the file that is sent, and a record of what it asks, so that no kill loses its answers.

A record is written before anything is sent, and again before each step that costs money. What is asked is in it by its
hashes; images are in the file that is sent alone, which is removed as soon as the endpoint has it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from apo_lightning.collecting.journal import Journal
from apo_lightning.collecting.request import Request
from apo_lightning.errors import ArtifactError
from apo_lightning.files import jsonlines
from apo_lightning.files.atomic import TEMPORARY, removal, write_bytes, write_text

URL = "/v1/chat/completions"
FORM = 1
"""Of a record."""
MOST_REQUESTS, MOST_BYTES = 50_000, 190_000_000
"""Of one file, as OpenAI takes them (200 MB)."""
MOST_ANSWERS = 500_000_000
"""Bytes of the answers to one file, as far as they can be told: what comes back is held whole."""
TOKEN, ALTERNATIVE = 8, 60
"""Bytes that a token of an answer takes, and that each log-prob which is asked for adds."""


@dataclass
class Record:
    """One batch of one teacher.

    Attributes:
        path: its file. ``name``: what the endpoint knows the batch by, beside its own id.
        teacher, model, base_url, prompt, settings: as in `journal.Answer`.
        requests: what is asked: the fields of `Request`, words as their hash.
        file, batch: the endpoint's ids of what was sent; empty where it was not.
        tried: whether the endpoint was asked to begin, so that it may have begun though no answer came.
        done: how it ended; empty while answers may come.
    """

    path: Path
    name: str
    teacher: str
    model: str
    base_url: str
    prompt: str
    settings: dict[str, Any]
    requests: list[dict[str, Any]] = field(default_factory=list)
    file: str = ""
    batch: str = ""
    tried: bool = False
    done: str = ""
    form: int = FORM

    @property
    def input(self) -> Path:
        """The file that is sent."""
        return self.path.with_suffix(".input.jsonl")

    @property
    def keys(self) -> dict[str, dict[str, Any]]:
        """Key to what is asked."""
        return {own["key"]: own for own in self.requests}

    def write(self, lines: Iterable[bytes]) -> None:
        """Write the file that is sent, then the record.

        Raises:
            Unwritten: the disk did not take it.
        """
        write_bytes(self.input, b"".join(lines))
        self.save()

    def save(self) -> None:
        """Write it, flushed to the disk.

        Raises:
            Unwritten: the disk did not take it.
        """
        write_text(self.path, json.dumps({k: v for k, v in asdict(self).items() if k != "path"}, indent=1) + "\n")


def folder(journal: Journal) -> Path:
    """Where the batches of a teacher lie."""
    return journal.path.with_suffix(".batches")


def new(journal: Journal, **what: Any) -> Record:
    """A record of nothing yet, not written."""
    name = uuid.uuid4().hex
    return Record(folder(journal) / f"{name}.json", name, journal.teacher, **what)


def records(journal: Journal) -> list[Record]:
    """All batches of a teacher, oldest first. What a kill left of a file that was being put together is removed.

    Raises:
        ArtifactError: a record cannot be read.
    """
    found = [_read(path) for path in folder(journal).glob("*.json")]
    known = {own.input for own in found if not own.file}
    for path in (*folder(journal).glob("*.input.jsonl"), *folder(journal).glob(TEMPORARY)):
        if path not in known:
            path.unlink()
    return sorted(found, key=lambda own: own.path.stat().st_mtime_ns)


def _read(path: Path) -> Record:
    names = {own.name for own in fields(Record)} - {"path"}
    try:
        held = json.loads(path.read_bytes())
        if not isinstance(held, dict) or set(held) != names or held["form"] != FORM:
            raise ValueError("it is no record of a batch")
        asked = {own.name for own in fields(Request)} - {"words"} | {"prompt_sha256"}
        if not all(isinstance(own, dict) and asked <= set(own) for own in held["requests"]):
            raise ValueError("its requests are damaged")
        return Record(path=path, **held)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ArtifactError(
            f"{path} cannot be read ({why}). A batch of '{path.parent.stem}' may be under way by it, and is paid for: "
            f"mend it, or give its answers up: {removal(path)}"
        ) from None


def line(key: str, body: Mapping[str, Any]) -> bytes:
    """One question as a batch asks it."""
    own = {"custom_id": key, "method": "POST", "url": URL, "body": body}
    return (json.dumps(own, ensure_ascii=False) + "\n").encode()


def answer_bytes(max_tokens: int, top_logprobs: int) -> int:
    """What an answer takes at most, about."""
    return 2_000 + max_tokens * (TOKEN + (ALTERNATIVE * (top_logprobs + 1) if top_logprobs else 0))


@dataclass(frozen=True)
class Line:
    """What a batch gave for one question.

    Attributes:
        key: of the question.
        id: the endpoint's name of this line.
        status: of the response; 0 where there is none.
        body: of the response; error: in its place, ``code`` and ``message``.
    """

    key: str
    id: str
    status: int
    body: Any
    error: Mapping[str, Any]


def read_lines(content: bytes) -> tuple[list[Line], int]:
    """The lines of an output or error file, and how many cannot be read."""
    found, damaged = [], 0
    for raw in content.split(b"\n"):
        if not raw.strip():
            continue
        try:
            found.append(_line(jsonlines.loads(raw)))
        except (ValueError, TypeError, AttributeError):
            damaged += 1
    return found, damaged


def _line(row: Any) -> Line:
    response, error = row.get("response") or {}, row.get("error") or {}
    key, status = row.get("custom_id"), response.get("status_code") or 0
    if not isinstance(key, str) or not isinstance(status, int) or not isinstance(error, Mapping):
        raise ValueError("no line of a batch")
    body = response.get("body")
    if not error and isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        error = body["error"]
    return Line(key, str(row.get("id") or ""), status, body, error)


def chunks(lines: Iterator[tuple[Request, bytes]], each: int) -> Iterator[list[tuple[Request, bytes]]]:
    """Questions in parts that one file takes; at most one part is held at a time.

    Args:
        each: bytes of an answer.
    """
    part: list[tuple[Request, bytes]] = []
    size = 0
    for request, raw in lines:
        if part and (
            len(part) >= MOST_REQUESTS or size + len(raw) > MOST_BYTES or (len(part) + 1) * each > MOST_ANSWERS
        ):
            yield part
            part, size = [], 0
        part.append((request, raw))
        size += len(raw)
    if part:
        yield part


def asked(requests: Sequence[Request], hashes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Questions as a record keeps them.

    Args:
        hashes: SHA-256 of the words, by key.
    """
    return [
        {"key": own.key, "asks": own.asks, "study": own.study, "teacher": own.teacher, "images": list(own.images)}
        | {"prompt_sha256": hashes[own.key]}
        for own in requests
    ]
