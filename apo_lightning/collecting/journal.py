"""A teacher's answers on disk: one file, one line an answer, written and flushed to the disk before the next is asked.

Lines are added and never changed. A line that a kill or a power cut left unfinished is ended before the next one is
written; it is counted and not read. Of several answers to one question (``--again``) the newest without a mark counts,
and where all have one, the newest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.files import jsonlines, locks
from apo_lightning.files.atomic import Unwritten, file_name

try:
    import fcntl
except ImportError:  # no POSIX system: the lease alone keeps others out
    fcntl = None  # type: ignore[assignment]

MARKS = ("truncated", "empty", "refused")
"""What an answer may be marked with; it is kept, and asked again only on request."""
BROKEN = "broken"
"""Mark of a line that is no answer: something came back that was none, which may have been paid for."""
PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One line of a journal.

    Attributes:
        key, asks: of the question, see `request`.
        study, teacher: whose answer it is.
        text: what was answered.
        thinking: what the endpoint gave as the thinking before it.
        mark: one of `MARKS`, or empty; `BROKEN` where this is none.
        model: as it was asked for; ``answered_by``: as the endpoint named it.
        base_url: where it was asked.
        prompt: name of the prompt; ``prompt_sha256``: of its filled-in words.
        images: SHA-256 of each image.
        settings: how tokens were drawn, and the sizes of image and answer.
        finish: why the answer ended, as the endpoint says (``stop``, ``length``, ``content_filter``).
        input_tokens, output_tokens: as the endpoint counted them; None: it did not.
        cost: by the price that the experiment gives; None: it is not known.
        asked: when, ISO 8601 in UTC. ``seconds``: what the answer took.
        tries: times that the question was sent for this answer.
        id: the endpoint's name for the answer.
        how: ``request``, ``batch`` or ``local``.
        logprobs: where they were asked for: of each token the token, its log-prob, and the alternatives as pairs.
    """

    key: str
    asks: str
    study: str
    teacher: str
    text: str
    thinking: str = ""
    mark: str = ""
    model: str = ""
    answered_by: str = ""
    base_url: str = ""
    prompt: str = ""
    prompt_sha256: str = ""
    images: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    finish: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    asked: str = ""
    seconds: float = 0.0
    tries: int = 1
    id: str = ""
    how: str = "request"
    logprobs: list[Any] | None = None

    def row(self) -> dict[str, Any]:
        """As it is written: what says nothing is left out."""
        return {key: value for key, value in asdict(self).items() if key in KEYS or value not in ("", None, {}, ())}


KEYS = ("key", "asks", "study", "teacher", "text")
"""What a line must have."""
_KNOWN = tuple(own.name for own in fields(Answer))


@dataclass(frozen=True)
class Held:
    """What a journal holds.

    Attributes:
        answers: in the order in which they came.
        damaged: numbers of the lines that cannot be read.
        foreign: lines that are no answers.
        broken: what came back and was no answer, see `BROKEN`.
    """

    answers: list[Answer] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    foreign: int = 0
    broken: list[Answer] = field(default_factory=list)

    def by_key(self) -> dict[str, Answer]:
        """Key to the answer that counts."""
        return counting((answer.key, answer) for answer in self.answers)

    def by_asks(self) -> dict[str, Answer]:
        """The same by ``asks``, for whoever knows no images: of two images the newer one's answer counts."""
        newest = {answer.asks: answer.key for answer in self.answers}
        return counting((own.asks, own) for own in self.answers if newest[own.asks] == own.key)


def _is_answer(row: Mapping[str, Any]) -> bool:
    words = all(isinstance(row[key], str) for key in KEYS)
    counts = all(isinstance(row.get(key), int | None) for key in ("input_tokens", "output_tokens"))
    return (
        words
        and counts
        and row.get("mark", "") in ("", BROKEN, *MARKS)
        and isinstance(row.get("cost"), int | float | None)
    )


def counting(pairs: Iterable[tuple[str, Answer]]) -> dict[str, Answer]:
    """Of each name the newest answer without a mark, or where all have one the newest."""
    found: dict[str, Answer] = {}
    for name, answer in pairs:
        if name not in found or found[name].mark or not answer.mark:
            found[name] = answer
    return found


def read(path: Path) -> Held:
    """What of a journal can be read; a missing file holds nothing.

    Raises:
        ArtifactError: the file is there and cannot be read at all.
    """
    try:
        grown = jsonlines.read_grown(path, KEYS)
    except (OSError, jsonlines.TooLong) as error:
        why = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path} cannot be read ({why}). It holds answers: mend it, do not remove it.") from error
    whole = [row for row in grown.rows if _is_answer(row)]
    answers = [Answer(**{key: value for key, value in row.items() if key in _KNOWN}) for row in whole]
    whole = [own for own in answers if own.mark != BROKEN]
    broken = [own for own in answers if own.mark == BROKEN]
    return Held(whole, grown.damaged, len(grown.rows) - len(answers), broken)


def is_journal(path: Path) -> bool:
    """Whether the first line of a file that can be read is a teacher's answer."""
    with suppress(OSError, jsonlines.TooLong), path.open("rb") as file:
        for line in file:
            with suppress(ValueError):
                row = jsonlines.loads(line)
                return isinstance(row, dict) and set(KEYS) <= row.keys()
    return False


class Journal:
    """The answers of one teacher in a folder.

    Args:
        folder: made with the first answer.
        teacher: its name.
    """

    def __init__(self, folder: Path, teacher: str) -> None:
        self.teacher = teacher
        self.path = folder / f"{teacher if PLAIN.fullmatch(teacher) else file_name(teacher)}.jsonl"

    @contextmanager
    def alone(self, say: locks.Say) -> Iterator[None]:
        """Inside, no other collector asks this teacher: it waits, and then finds what was answered meanwhile."""
        with locks.held(self.path.with_suffix(".lock"), f"teacher {self.teacher}", say):
            yield

    def read(self) -> Held:
        """What can be read; a missing file holds nothing.

        Raises:
            ArtifactError: the file is there and cannot be read at all.
        """
        return read(self.path)

    def append(self, answer: Answer) -> None:
        """Write one answer and wait until the disk has it.

        Raises:
            Unwritten: the disk did not take it; the file is as it was.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line, new = f"{jsonlines.dumps(answer.row())}\n".encode(), not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            with _locked(file):
                _append(file, line, self.path)
        finally:
            os.close(file)
        if new:
            _flush_folder(self.path.parent)


def _append(file: int, line: bytes, path: Path) -> None:
    before = os.fstat(file).st_size
    torn = before and os.pread(file, 1, before - 1) != b"\n"
    left = memoryview(b"\n" + line if torn else line)
    try:
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(file, before)
        raise Unwritten(error, path, len(line)) from error


@contextmanager
def _locked(file: int) -> Iterator[None]:
    """The file for this process alone while a line is written: two that believe to be alone (one was suspended for
    minutes) must not write into each other's lines. Where the file system knows no such lock, the lease has to do."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
    yield  # closing the file lets go of it


def _flush_folder(folder: Path) -> None:
    """A new file's name lies in its folder, which a power cut must not lose either."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
