"""``teachers: {from: texts.csv}``: every teacher that a file has texts of, as if each were written by name.

    teachers: {from: texts.csv, weights: {gpt: 0.5}, columns: {study: dicom_id}}

It stands for one recorded teacher each, so that ``teachers.gpt.weight=0.2`` means what it says, and a run's own
``config.yaml`` names them. It replaces the teachers of files that are extended; those beside it stay.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from apo_lightning.config.layers import Layers, Word
from apo_lightning.config.registered import get
from apo_lightning.errors import ArtifactError, ConfigError, DataError, did_you_mean

TEACHERS = ("teachers",)
FROM, WEIGHTS = "from", "weights"
SHARED = ("columns", "prompt", "repeated")
"""Settings that hold for every teacher of the files."""


def split(words: Sequence[Word]) -> tuple[list[Word], list[Word]]:
    """Words of the command line that name such a file, as settings of ``teachers``; and all others."""
    named, rest = [], []
    for word in words:
        if word.path == (*TEACHERS, FROM):
            named.append(Word(TEACHERS, {FROM: word.value}, word.source))
        elif word.path == TEACHERS and isinstance(word.value, Mapping) and _is_source(word.value):
            named.append(word)
        else:
            rest.append(word)
    return named, rest


def lay(layers: Layers, words: Sequence[Word] = ()) -> None:
    """Put the teachers of files in the place of ``from``, which is gone in any case.

    Raises:
        ConfigError: a file cannot be read, or its teachers do not fit what else is said of them.
    """
    for word in words:
        layers.put(word.path, word.value, word.source)
    section = layers.tree.get(TEACHERS[0])
    if not isinstance(section, Mapping) or not _is_source(section):
        return
    own = {key: section[key] for key in (FROM, WEIGHTS, *SHARED) if key in section and not _is_teacher(section[key])}
    source = layers.origin((*TEACHERS, FROM))
    try:
        paths = _paths(layers, own[FROM])
    finally:
        layers.drop(TEACHERS, lambda key: key in own)
    try:
        made = _teachers(paths, own, get(layers.tree, TEACHERS))
    except (ConfigError, DataError, ArtifactError) as error:
        raise ConfigError(f"teachers.{FROM} ({source}): {error}") from error
    layers.lay(made, source, TEACHERS)


def _is_source(section: Mapping[str, Any]) -> bool:
    return FROM in section and not _is_teacher(section[FROM])


def _is_teacher(value: Any) -> bool:
    return isinstance(value, Mapping) and "kind" in value


def _paths(layers: Layers, given: Any) -> list[str]:
    """
    Raises:
        ConfigError: it is no path and no list of them.
    """
    if re.search(r"\$\{", str(given)):
        resolved = layers.copy()
        resolved.resolve()
        given = resolved.tree[TEACHERS[0]][FROM]
    paths = [given] if isinstance(given, str) else given
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
        raise ConfigError(f"teachers.{FROM} must be the path of a file of texts, or a list of paths, got {given!r}.")
    return paths


def _teachers(paths: Sequence[str], own: Mapping[str, Any], beside: Collection[str]) -> dict[str, dict[str, Any]]:
    """Name to section of every teacher.

    Raises:
        ConfigError: two have one name, or a weight is that of none.
        DataError: a file cannot be read, or holds no texts.
    """
    from apo_lightning.own_texts import offered  # reads tables: only where somebody asks for one

    columns = own.get("columns")
    if columns is not None and not isinstance(columns, Mapping):
        raise ConfigError(f"columns must be a mapping, as {{study: dicom_id, text: answer}}, got {columns!r}.")
    shared, made = {key: own[key] for key in SHARED if key in own}, dict[str, dict[str, Any]]()
    for path in paths:
        for name, inside in offered.teachers(path, columns).items():
            if name in made:
                raise ConfigError(f"{path} and {made[name]['path']} both have a teacher '{name}'. Name each by itself.")
            if name in beside:
                raise ConfigError(
                    f"{path} has a teacher '{name}', and so has the experiment beside it. Rename that one."
                )
            made[name] = {"kind": "recorded", "path": path, "teacher": inside, **shared}
    weights = own.get(WEIGHTS) or {}
    if not isinstance(weights, Mapping):
        raise ConfigError(f"weights must be a mapping of names to numbers, as {{gpt: 0.5}}, got {weights!r}.")
    for name, weight in weights.items():
        key = offered.meant(str(name), made)
        if key is None:
            raise ConfigError(f"weights names no teacher '{name}'. {did_you_mean(str(name), made)}")
        made[key]["weight"] = weight
    return made
