"""The teachers that a file has texts of, under names that a setting may have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from apo_lightning.errors import DataError
from apo_lightning.own_texts import names, reading


def teachers(path: str, columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name under ``teachers:`` to the name in the file. A file whose texts name no teacher is one teacher's, who is
    called as the file is.

    Raises:
        DataError: the file cannot be read, or two names become one.
    """
    texts = reading.read(path, columns)
    held = texts.teachers()
    wide = [name for name in held if name]
    only = not wide or ("" in held and not names.references(texts.used.get("text", {})))
    found: dict[str, str] = {}
    for inside in [Path(path).stem] if only else wide:
        name = names.setting_name(inside)
        if name in found:
            raise DataError(
                f"{path}: the teachers '{found[name]}' and '{inside}' would both be called '{name}'. Name them by hand."
            )
        found[name] = inside
    return found


def meant(name: str, made: Mapping[str, Mapping[str, str]]) -> str | None:
    """The teacher that ``name`` means: a key of ``made``, or its name in the file, whole or some of its words."""
    inside: dict[str, str] = {str(own["teacher"]): key for key, own in made.items()}
    known: Collection[str] = [*made, *(one for one in inside if one not in made)]
    found = name if name in known else names.resolve(name, list(inside))
    return None if found is None else inside.get(found, found)
