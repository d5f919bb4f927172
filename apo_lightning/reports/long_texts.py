"""What is said of teachers many of whose texts are longer than the student is taught."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIMIT = "student.max_branch_tokens"
KEY = "long_texts"
"""Of a run's manifest: teacher to ``texts``, ``cut``, ``limit`` and how many tokens are enough for 95 % and for all."""
COUNTS = ("texts", "cut", "limit", "enough_95", "enough")


def warnings(manifest: Mapping[str, Any]) -> list[str]:
    """One sentence that names each teacher of the manifest; none where it names none, or is of an earlier version."""
    known = manifest.get(KEY)
    teachers = known.items() if isinstance(known, Mapping) else ()
    said = [_sentence(str(name), own) for name, own in teachers if _whole(own)]
    return [f"Taught without their ends, since they are longer than {LIMIT}: {'; '.join(said)}."] if said else []


def _whole(own: Any) -> bool:
    return isinstance(own, Mapping) and all(isinstance(own.get(key), int) for key in COUNTS) and own["texts"] > 0


def _sentence(name: str, own: Mapping[str, int]) -> str:
    """
    >>> _sentence("a", {"texts": 40, "cut": 10, "limit": 64, "enough_95": 90, "enough": 120})
    'a 25% of 40 texts (limit 64 tokens; 90 are enough for 95 % of them, 120 for all)'
    """
    share, most = own["cut"] / own["texts"], f"{own['enough']:,}"
    enough = f"{own['enough_95']:,} are enough for 95 % of them, {most} for all"
    enough = f"{most} are enough for all" if own["enough_95"] == own["enough"] else enough
    return f"{name} {share:.0%} of {own['texts']:,} texts (limit {own['limit']:,} tokens; {enough})"
