"""Slots of a template that a text leaves unfilled: "#blank", "[insert side]", "{finding}", "____"."""

from __future__ import annotations

import re

_ASKED = (
    r"(?:blank|insert|placeholder|to be (?:filled|determined|completed)|fill(?: in)?|your|tbd|describe|specify|value"
    r"|findings?|side|laterality|location|size|severity|yes ?/ ?no|present ?/ ?absent|left ?/ ?right)"
)
SLOT = (
    rf"#\s?(?:blank|slot|placeholder)\b|\[{_ASKED}\b[^\[\]\n]{{0,60}}\]|<{_ASKED}\b[^<>\n]{{0,60}}>"
    r"|\{\{\s?[\w .-]{1,40}\s?\}\}|\{[a-z][a-z_ ]{1,40}\}|_{4,}|\(blank\)"
)
"""Three underscores are MIMIC-CXR's mask of a name, no slot."""
_SLOT = re.compile(SLOT, re.IGNORECASE)


def unfilled(text: str) -> list[str]:
    """The slots as they stand in the text, in order.

    >>> unfilled("Side: [left/right]. Volume loss: #blank")
    ['[left/right]', '#blank']
    """
    return [found.group() for found in _SLOT.finditer(text)]
