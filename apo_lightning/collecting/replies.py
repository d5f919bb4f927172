"""What an endpoint sent, read as an answer: its text, why it ended, what it cost, and whether it is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apo_lightning.collecting.failures import Again, Broken, Declined, Failure
from apo_lightning.collecting.secrets import masked
from apo_lightning.text.labeler import refused
from apo_lightning.text.thinking import answer

CUT = ("length", "max_tokens", "model_length")
FILTER = ("content_filter", "safety", "refusal", "prohibited_content")
"""Why an answer ended: at the limit of its length, or by the endpoint's filter."""


@dataclass(frozen=True)
class Reply:
    """An answer as an endpoint gave it.

    Attributes:
        text, thinking: of the assistant.
        finish: why it ended.
        declined: the endpoint itself says that it is a refusal.
        model, id: as the endpoint names them.
        input_tokens, output_tokens: None where it counted none.
        logprobs: see `journal.Answer`.
    """

    text: str
    thinking: str = ""
    finish: str = ""
    declined: bool = False
    model: str = ""
    id: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    logprobs: list[Any] | None = None

    @property
    def mark(self) -> str:
        """One of `journal.MARKS`, or nothing."""
        if self.declined or self.finish in FILTER:
            return "refused"
        if self.finish in CUT:
            return "truncated"
        if not answer(self.text).strip():
            return "empty"
        return "refused" if refused(self.text) else ""


def read(content: bytes | str) -> Reply:
    """The answer in the body of a response to ``/chat/completions``.

    Raises:
        Broken: it is no JSON, or has no answer in it.
        Again: it is an error in the place of an answer.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise Broken("the answer is not JSON") from None
    return from_body(body)


def from_body(body: Any) -> Reply:
    """The same from what JSON holds; see `read`."""
    if not isinstance(body, Mapping):
        raise Broken("the answer is not a JSON object")
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for own in (body, first):
        if isinstance(own, Mapping) and isinstance(error := own.get("error"), Mapping):
            raise _error(error)
    message = first.get("message") if isinstance(first, Mapping) else None
    if not isinstance(message, Mapping):
        raise Broken("the answer has no choices" if not choices else "the answer has no message")
    refusal, usage = message.get("refusal"), body.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    said = _text(message.get("content"))
    return Reply(
        text=said or _text(refusal),
        thinking=_text(message.get("reasoning_content") or message.get("reasoning")),
        finish=str(first.get("finish_reason") or "").lower(),
        declined=bool(refusal),
        model=str(body.get("model") or ""),
        id=str(body.get("id") or ""),
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        logprobs=_logprobs(first.get("logprobs")),
    )


def _error(error: Mapping[str, Any]) -> Failure:
    """Some endpoints answer with status 200 and say there what is wrong."""
    said = masked(f"{error.get('code', '')} {error.get('message', '')}".strip())[:300]
    kind = str(error.get("code", "")).lower()
    return (
        Declined(said)
        if kind in FILTER
        else Again(f"an error in the place of an answer: {said}", limited=kind == "429")
    )


def _text(content: Any) -> str:
    """Content as one text, whether it came as one or in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _logprobs(found: Any) -> list[Any] | None:
    """Of each token the token, its log-prob, and the alternatives as pairs; None where nothing can be read."""
    content = found.get("content") if isinstance(found, Mapping) else None
    if not isinstance(content, list):
        return None
    try:
        return [
            [
                own["token"],
                own["logprob"],
                [[other["token"], other["logprob"]] for other in own.get("top_logprobs") or []],
            ]
            for own in content
        ]
    except (KeyError, TypeError):
        return None
