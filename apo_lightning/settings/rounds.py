"""Names of stages that run again: ``apo_2`` .. ``apo_9`` are the stage ``apo``, its second to ninth time in an arm."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST = 9
_AGAIN = re.compile(r"(?P<stage>.+)_(?P<number>[2-9])")


def first(name: str) -> str:
    """The stage of which ``name`` may be a later run; any other name as it is.

    >>> first("apo_2"), first("self_distill"), first("apo_10"), first("apo_1")
    ('apo', 'self_distill', 'apo_10', 'apo_1')
    """
    found = _AGAIN.fullmatch(name)
    return found["stage"] if found else name


def number(name: str) -> int:
    """How many-th run a name is.

    >>> number("apo"), number("apo_3")
    (1, 3)
    """
    found = _AGAIN.fullmatch(name)
    return int(found["number"]) if found else 1


def before(name: str) -> str:
    """The run before a later one.

    >>> before("apo_2"), before("self_distill_4")
    ('apo', 'self_distill_3')
    """
    return first(name) if number(name) == 2 else f"{first(name)}_{number(name) - 1}"


def runs(stage: str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are runs of ``stage``, in their order, the first one first.

    >>> runs("apo", ["spd", "apo", "apo_2", "apo_10"])
    ['apo', 'apo_2']
    """
    return sorted({name for name in names if first(name) == stage or name == stage}, key=number)
