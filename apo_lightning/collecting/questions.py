"""What is to be asked of a teacher, one question under way, and what came of all of them."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from apo_lightning.collecting.journal import Answer, Journal
from apo_lightning.collecting.request import Request
from apo_lightning.files.atomic import Unwritten


@dataclass(frozen=True)
class Question:
    """What is to be asked. Its images are opened when its turn comes.

    Attributes:
        study: which study it is about.
        open: gives the request and its images; may raise an ApoError.
        counts: key to the number of answers that are on disk already. ``broken``: of those that were none.
    """

    study: str
    open: Callable[[], tuple[Request, Sequence[Image.Image]]]
    counts: Mapping[str, int] = field(default_factory=dict)
    broken: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of asking one teacher.

    Attributes:
        answers: those that came, in this order.
        failed: study to why it has no answer.
        sent: requests that were sent; ``again``: those of them that were sent again, by why.
        ended: why asking ended before all questions were asked; empty where it did not.
        unsaved: answers that the disk did not take.
    """

    answers: list[Answer] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    again: Counter[str] = field(default_factory=Counter)
    ended: str = ""
    unsaved: list[Answer] = field(default_factory=list)


class Asking:
    """One question under way.

    Args:
        request: what is asked.
        nth: answers to it that are on disk already.
        bad: answers that were none.

    Attributes:
        tries: times that it was sent. ``noted``: of these, those that a line tells of. ``failures``: those that failed.
        waited: seconds, as it was told.
    """

    def __init__(self, request: Request, nth: int, bad: int) -> None:
        self.request, self.nth, self.bad = request, nth, bad
        self.tries, self.noted, self.failures, self.waited = 0, 0, 0, 0.0
        self.at, self.since = "", 0.0

    def begin(self) -> None:
        self.tries += 1
        self.at, self.since = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()

    @property
    def name(self) -> str:
        """An endpoint that knows ``Idempotency-Key`` gives the same answer for one name without asking for money twice,
        also after we were killed. After an answer that was none another one is wanted; and so is one on another day,
        lest an endpoint that keeps failures repeats one for ever."""
        words = f"{self.request.key}/{self.nth}/{self.bad}/{self.at[:10]}"
        return hashlib.sha256(words.encode()).hexdigest()


def rescue(answers: Sequence[Answer], journal: Journal, elsewhere: Path) -> Path | None:
    """Write answers that the disk did not take: where they belong if that works now, else ``elsewhere``; returns that
    file."""
    left = list(answers)
    with suppress(Unwritten):
        while left:
            journal.append(left[0])
            del left[0]
    other = Journal(elsewhere, journal.path.stem)
    for answer in left:
        other.append(answer)
    return other.path if left else None
