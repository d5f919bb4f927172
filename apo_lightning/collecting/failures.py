"""What went wrong with a request, and what follows from it: send it again, give up this question, or stop asking."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import openai

from apo_lightning.collecting.http import OtherHost, Refused
from apo_lightning.collecting.secrets import masked
from apo_lightning.errors import first_line

PATIENCE = 600.0
"""Seconds that an endpoint may ask us to wait; one that asks for more is asked another day."""
PASSING = (408, 409, 425, 499)
"""Statuses below 500 of failures that may pass."""
DOORS = {401: "does not take the key", 402: "wants to be paid", 403: "does not let us in", 404: "does not know"}
"""Statuses that speak of the key or the model rather than of the question."""
POOR = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance")
"""Codes with which a 429 says that no money is left: waiting does not help."""
FILTERED = (
    "content_filter",
    "content_policy_violation",
    "contentpolicyviolation",
    "moderation",
    "data_inspection_failed",
)
"""Codes with which an endpoint declines a question for what it shows."""
LONGEST = 300
"""Characters of an endpoint's own words in a message."""


class Failure(Exception):
    """A request that brought no answer.

    Attributes:
        costly: it may have been paid for.
    """

    costly = False


class Again(Failure):
    """It may work if it is sent again.

    Attributes:
        wait: seconds that the endpoint asks for; None: it does not say.
        limited: the endpoint is asked too often, and nothing is wrong with the request.
        door: it speaks of the key or the model: where several in a row say so, it is so.
    """

    def __init__(self, why: str, wait: float | None = None, *, limited: bool = False, door: bool = False) -> None:
        super().__init__(why)
        self.wait, self.limited, self.door = wait, limited, door

    @property
    def kind(self) -> str:
        """How a table counts it.

        >>> Again("status 500: down for maintenance").kind, Again("too many", limited=True).kind
        ('status 500', 'told to wait')
        """
        status = re.search(r"status \d+", str(self))
        return "told to wait" if self.limited else status[0] if status else str(self).split(":")[0][:40]


class Unheard(Again):
    """Nothing came back, or not all of it."""

    costly = True


class Unsent(Unheard):
    """There was no connection."""

    costly = False


class Broken(Again):
    """What came back as the answer is none."""

    costly = True


class Hopeless(Failure):
    """This question is not taken; others may be."""


class Declined(Hopeless):
    """The question is declined for what it shows: a refusal, which is an answer."""


class Closed(Failure):
    """Whatever is asked, nothing is answered."""


def failure(error: Exception) -> Failure:
    """What follows from an error of a client (openai's, or litellm's, whose errors extend these).

    >>> failure(TimeoutError()).__class__.__name__
    'Unheard'

    Raises:
        Exception: ``error`` itself, which is no client's.
    """
    if isinstance(error, Failure):
        return error
    refused = _refused(error)
    if isinstance(refused, OtherHost):
        return Closed(masked(first_line(refused)))
    if refused is not None:
        return Broken(f"the answer is too large: {masked(first_line(refused)).removeprefix('refused: ')}")
    if (status := getattr(error, "status_code", None)) is not None:
        return _of_status(int(status), error)
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return Unheard("no answer in time")
    if isinstance(error, openai.OpenAIError | httpx2.HTTPError | OSError):
        cause = error.__cause__ or error
        kind = Unsent if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout) else Unheard
        return kind(f"the connection failed: {masked(first_line(cause))}")
    raise error


def _refused(error: BaseException | None) -> Refused | None:
    while error is not None and not isinstance(error, Refused):
        error = error.__cause__
    return error


def _of_status(status: int, error: BaseException) -> Failure:
    headers, code = getattr(getattr(error, "response", None), "headers", None) or {}, _code(error)
    said, wait = f"status {status}: {words(error)}", retry_after(headers)
    if wait is not None and wait > PATIENCE:
        return Closed(f"asks to wait {wait:,.0f} s ({said})")
    if status in DOORS or any(name in code for name in POOR):
        what = DOORS.get(status, DOORS[402])
        return Again(f"the endpoint {what} ({said})", wait, door=True)
    if any(name in code for name in FILTERED):
        return Declined(said)
    if status == 429:
        return Again(said, wait, limited=True)
    if status >= 500 or status in PASSING:
        return Again(said, wait)
    return Hopeless(said)


def _code(error: BaseException) -> str:
    """The endpoint's own word for what is wrong, in small letters."""
    body = getattr(error, "body", None)
    own = body.get("error", body) if isinstance(body, Mapping) else {}
    found = [own.get(key) for key in ("code", "type")] if isinstance(own, Mapping) else []
    return " ".join(str(word).lower() for word in (*found, getattr(error, "code", None)) if word).strip()


def words(error: BaseException) -> str:
    """What the endpoint says, in a line, without keys."""
    body = getattr(error, "body", None)
    own = body.get("error", body) if isinstance(body, Mapping) else None
    said = own.get("message") if isinstance(own, Mapping) else None
    text = " ".join(masked(str(said or getattr(error, "message", "") or first_line(error))).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """Seconds that an answer asks us to wait (``Retry-After`` in seconds or as a date, ``retry-after-ms``); None where
    it says nothing that can be read.

    >>> retry_after({"retry-after": "7"}), retry_after({"retry-after-ms": "250"}), retry_after({"retry-after": "soon"})
    (7.0, 0.25, None)
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(seconds, 0.0) if seconds == seconds else None
    try:
        date = email.utils.parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError, TypeError):
        return None
    return max(date.timestamp() - time.time(), 0.0)
