"""``cast``: settings that lie over every simulated teacher, so that one key moves the whole world of made-up teachers.

Laid once more they change nothing, so that a resolved experiment may be read again.
"""

from __future__ import annotations

from collections.abc import Mapping

from apo_lightning.config.check import Checker
from apo_lightning.config.layers import Layers
from apo_lightning.config.registered import TEACHERS, get

KEY = ("cast",)
KIND = "simulated"


def lay(layers: Layers) -> list[str]:
    """Lay ``cast`` over the simulated teachers of ``layers``, unless something is wrong with it.

    Returns:
        what is wrong with it, one sentence each.
    """
    cast, teachers = get(layers.tree, KEY), get(layers.tree, ("teachers",))
    if not isinstance(cast, Mapping) or not cast or not isinstance(teachers, Mapping):
        return []
    made_up = {
        name: own
        for name, own in teachers.items()
        if isinstance(own, Mapping) and own.get(TEACHERS.discriminator) == KIND
    }
    checker = Checker(layers)
    if not made_up:
        checker.say(KEY, "cast lies over simulated teachers, and there is none", "Leave it out.")
        return checker.problems
    cls = TEACHERS.registry()[KIND]
    values = checker.values(cls, cast, KEY, (*TEACHERS.given, *TEACHERS.own))
    if not checker.problems:  # rates that it leaves to the teachers are no problem of its own
        checker.construct(cls, {"accuracy": 0.5} | values | {"name": KEY[0]}, KEY)
    if not checker.problems:
        for name in made_up:
            for key, value in cast.items():
                layers.put(("teachers", name, key), value, layers.origin((*KEY, key)), whole=True)
    return checker.problems
