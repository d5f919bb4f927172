"""What a batch gave, line by line: answers as a journal keeps them, and why others are none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from openai.types import Batch

from apo_lightning.collecting import replies
from apo_lightning.collecting.batch_files import Line, Record, read_lines
from apo_lightning.collecting.endpoint import Price
from apo_lightning.collecting.failures import FILTERED, Declined, Failure
from apo_lightning.collecting.journal import Answer
from apo_lightning.collecting.replies import Reply
from apo_lightning.collecting.secrets import masked

DISCOUNT = 0.5
"""Of the price, as OpenAI and most that copy its batches take."""


@dataclass
class Lines:
    """Lines of a batch's files.

    Attributes:
        own: one a question.
        damaged, foreign, twice: numbers of those that cannot be read, were not asked for, or are a second one.
    """

    own: list[Line] = field(default_factory=list)
    damaged: int = 0
    foreign: int = 0
    twice: int = 0

    @property
    def odd(self) -> str:
        """What of them was not used, in words; empty where all was."""
        words = {"cannot be read": self.damaged, "were not asked for": self.foreign, "came twice": self.twice}
        said = ", ".join(f"{count:,} {what}" for what, count in words.items() if count)
        return f"; lines not used: {said}" if said else ""


def lines(record: Record, files: Iterable[bytes]) -> Lines:
    """The lines of files, in their order; of several for one question the first."""
    found, asked, seen = Lines(), record.keys, set[str]()
    for content in files:
        read, damaged = read_lines(content)
        found.damaged += damaged
        for own in read:
            if own.key not in asked:
                found.foreign += 1
            elif own.key in seen:
                found.twice += 1
            else:
                seen.add(own.key)
                found.own.append(own)
    return found


def answer(record: Record, price: Price, found: Batch, line: Line) -> Answer:
    """A line as a journal keeps it.

    Args:
        price: of the endpoint, of which a batch costs ``DISCOUNT``.
        found: the batch.

    Raises:
        Failure: it is no answer.
    """
    own, reply = record.keys[line.key], _reply(line)
    known = reply.input_tokens is not None and reply.output_tokens is not None
    full = price.of(reply.input_tokens, reply.output_tokens) if known else None
    return Answer(
        key=own["key"],
        asks=own["asks"],
        study=own["study"],
        teacher=record.teacher,
        text=reply.text,
        thinking=reply.thinking,
        mark=reply.mark,
        model=record.model,
        answered_by=reply.model,
        base_url=record.base_url,
        prompt=record.prompt,
        prompt_sha256=own["prompt_sha256"],
        images=tuple(own["images"]),
        settings=record.settings,
        finish=reply.finish,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        cost=None if full is None else full * DISCOUNT,
        asked=datetime.fromtimestamp(found.created_at, UTC).isoformat(timespec="seconds"),
        id=f"{record.batch}/{line.id or line.key}",
        how="batch",
        logprobs=reply.logprobs,
    )


def _reply(line: Line) -> Reply:
    """
    Raises:
        Failure: the line is no answer.
    """
    code = f"{line.error.get('code') or ''} {line.error.get('type') or ''}".lower()
    if any(name in code for name in FILTERED):
        return Reply("", finish="content_filter", declined=True)
    if line.status != 200:
        said = str(line.error.get("message") or line.error.get("code") or "nothing came back")
        raise Failure(masked(f"status {line.status}: {said}" if line.status else said)[:300])
    try:
        return replies.from_body(line.body)
    except Declined:
        return Reply("", finish="content_filter", declined=True)
