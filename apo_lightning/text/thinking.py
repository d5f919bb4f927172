"""What of a model's text is thinking and what is its answer.

Thinking stands between tags: ``<think>...</think>`` and the like. A tag that is never closed (a text that was cut)
makes all that follows thinking; a closing tag alone (chat templates that open it in the prompt) all that stands before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from apo_lightning.types import Trajectory

_NAMES = r"(?:seed:)?think(?:ing)?|reason(?:ing)?|thoughts?|scratchpad|reflection"
_TAG = re.compile(rf"[<\u25c1]\s{{0,3}}(?P<close>/?)\s{{0,3}}(?:{_NAMES})\s{{0,3}}[>\u25b7]", re.IGNORECASE)


def thinking_spans(text: str) -> list[tuple[int, int]]:
    """Where the thinking stands, tags included, in order and apart from each other.

    >>> thinking_spans("<think>Edema?</think> No edema.")
    [(0, 21)]
    """
    spans: list[tuple[int, int]] = []
    opened: list[int] = []
    for tag in _TAG.finditer(text):
        if not tag["close"]:
            opened.append(tag.start())
        elif opened:
            start = opened.pop()
            if not opened:
                spans.append((start, tag.end()))
        else:
            spans = [(0, tag.end())]
    return [*spans, (opened[0], len(text))] if opened else spans


def answer(text: str) -> str:
    """``text`` without its thinking; itself, to the last character, where it has none.

    >>> answer("<think>Edema?</think> No edema."), answer("<think>Still at it")
    ('No edema.', '')
    """
    spans = thinking_spans(text)
    if not spans:
        return text
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    parts = [text[start:end].strip() for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return "\n\n".join(part for part in parts if part)


def only_answer(text: str) -> str:
    """The same, each character where it stood: thinking becomes line breaks."""
    for start, end in thinking_spans(text):
        text = text[:start] + "\n" * (end - start) + text[end:]
    return text


def all_as_answer(text: str) -> str:
    """``text`` as if it had no tags, each character where it stood: what it thinks is read like what it answers."""
    return _TAG.sub(lambda tag: "\n" * len(tag.group()), text)


def is_tag(text: str) -> bool:
    """Whether ``text`` opens or closes thinking."""
    return _TAG.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class ThinkingPolicy:
    """What an experiment does with thinking.

    Attributes:
        taught: the student learns from, and reads, texts with their thinking; else their answers alone.
        judged: findings are read from the thinking as well; else from the answer alone.
    """

    taught: bool = False
    judged: bool = False

    def as_taught(self, text: str) -> str:
        """A teacher's text, or t+, as the student learns from it."""
        return text if self.taught else answer(text)

    def as_read(self, text: str) -> str:
        """A text as findings are read from it; spans in it are spans of ``text``."""
        return all_as_answer(text) if self.judged else text

    def apply_policy(self, trajectories: Iterable[Trajectory], use: Literal["taught", "read"]) -> list[Trajectory]:
        """Trajectories as the student learns from them (``taught``), or as findings are read from them (``read``)."""
        shown = self.as_taught if use == "taught" else self.as_read
        return [replace(said, text=shown(said.text)) for said in trajectories]
