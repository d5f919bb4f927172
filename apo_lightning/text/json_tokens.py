"""Reads JSON as models write it: in a fence, cut off, with single quotes, trailing commas or Python's constants.

A value keeps where it stands, which the standard library's reader does not tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"\s+|//[^\n]*|(?P<open>[{\[])|(?P<close>[}\]])|(?P<colon>:)|(?P<comma>,)"
    r"|\"(?P<double>(?:[^\"\\]|\\.)*)\"|'(?P<single>(?:[^'\\]|\\.|(?<=\w)'(?=\w))*)'"
    r"|(?P<word>[A-Za-z_][\w./-]*|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)",
    re.DOTALL,
)
START = re.compile(r"\{(?=\s*(?:[\"'}]|\w+\s*:))|\[(?=\s*[\"'{])")
"""Where an object or a list may begin."""


DEEPEST = 50
"""Levels of nesting; what is deeper is no answer."""


@dataclass
class Value:
    """An object (``pairs``), a list (``items``), or a scalar: the words ``start:end`` of the text, quotes left out."""

    start: int
    end: int = 0
    kind: str = "scalar"
    quoted: bool = False
    pairs: list[tuple[Value, Value]] = field(default_factory=list)
    items: list[Value] = field(default_factory=list)


def read_value(text: str, start: int) -> tuple[Value | None, int]:
    """The object or list that begins at ``start``, and where to read on.

    What is cut off ends with the text. None where it is no JSON, with the place up to which it looked like some.
    """
    root: Value | None = None
    stack: list[Value] = []
    at, key = start, None
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            cut = text[at] in "\"'" and text.find(text[at], at + 1) < 0 and bool(root and (root.pairs or root.items))
            return (_closed(stack, len(text)) if cut else None), (len(text) if cut else max(at, start + 1))
        at = token.end()
        kind = token.lastgroup
        if kind in ("double", "single", "word"):
            item = Value(token.start(kind), token.end(kind), quoted=kind != "word")
        elif kind == "open":
            if len(stack) == DEEPEST:
                return None, at
            item = Value(token.start(), kind="object" if token.group() == "{" else "list")
        elif kind == "close":
            stack.pop().end = at
            if not stack:
                return root, at
            key = None
            continue
        else:
            key = None if kind == "comma" else key
            continue
        if stack and stack[-1].kind == "object" and key is None:
            key = item
            if item.kind != "scalar":  # an object has names, this one has not
                return None, at
            continue
        if stack:
            stack[-1].pairs.append((key, item)) if stack[-1].kind == "object" else stack[-1].items.append(item)
        root, key = root or item, None
        if item.kind != "scalar":
            stack.append(item)
    return (_closed(stack, len(text)) if root and (root.pairs or root.items) else None), len(text)


def _closed(stack: list[Value], end: int) -> Value:
    for value in stack:
        value.end = end
    return stack[0]
