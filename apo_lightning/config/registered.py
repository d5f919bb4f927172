"""Which parts of an experiment name something registered, and where that is registered.

Some sections of an experiment file hold the settings of a class that a registry knows by name. This table says which
key of the section is that name, and which registry to ask. Registries are imported when they are asked.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apo_lightning.registry import Registry

Path = tuple[str, ...]
"""A dotted key in its parts."""


@dataclass(frozen=True)
class Section:
    """One kind of registered section.

    Attributes:
        pattern: its place; ``*`` stands for any name.
        module, attribute: where its registry lies.
        discriminator: the key that names the class; empty where the section's own key does.
        own: keys that belong to the section and are not passed to the class.
        given: arguments that the program passes, so that no file may set them; ``name`` is the section's key.
    """

    pattern: Path
    module: str
    attribute: str
    discriminator: str = "name"
    own: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    def registry(self) -> Registry:
        """The registry, filled: importing its package discovers the members."""
        return getattr(importlib.import_module(self.module), self.attribute)

    def matches(self, path: Path) -> bool:
        """Whether ``path`` is a section of this kind."""
        return len(path) == len(self.pattern) and all(p in ("*", q) for p, q in zip(self.pattern, path, strict=True))

    def named_by(self, path: Path) -> Path:
        """Where the name of the class stands for the section at ``path``."""
        return (*path, self.discriminator) if self.discriminator else path

    def member(self, path: Path, section: Mapping[str, Any]) -> str | None:
        """Name of the class that the section at ``path`` asks for; None where it names none."""
        return section.get(self.discriminator) if self.discriminator else path[-1]


DATA = Section(("data",), "data_modules", "DATA")
EVALUATION = Section(("evaluate", "data"), "data_modules", "DATA")
FURTHER = Section(("evaluate", "sets", "*", "data"), "data_modules", "DATA")
TEACHERS = Section(("teachers", "*"), "apo_lightning.teachers", "TEACHERS", "kind", ("weight",), ("name", "listed"))
LOSSES = Section(("stages", "*", "loss"), "apo_lightning.losses", "LOSSES")
POSITIVES = Section(("stages", "*", "positive"), "apo_lightning.positives", "POSITIVES")
NEGATIVES = Section(("stages", "*", "negatives"), "apo_lightning.negatives", "NEGATIVES")
WEIGHTS = Section(("pool", "weights"), "apo_lightning.weighting", "WEIGHTS")
OFFERED = ("folder", "upload", "batch_size_fn", "length_fn")
CALLBACKS = Section(("callbacks", "*"), "callbacks", "CALLBACKS", "", given=OFFERED)
ANSWERED = (EVALUATION, FURTHER)
"""Those that name a data set beside the one that is trained on."""
SECTIONS = (DATA, *ANSWERED, TEACHERS, LOSSES, POSITIVES, NEGATIVES, WEIGHTS, CALLBACKS)


def section_at(path: Path) -> Section | None:
    """The kind of section that ``path`` is; None if it is none."""
    return next((kind for kind in SECTIONS if kind.matches(path)), None)


def enclosing(path: Path) -> tuple[Section, Path] | None:
    """The registered section that the setting at ``path`` lies in, with the section's own path."""
    for length in range(1, len(path)):
        if kind := section_at(path[:length]):
            return kind, path[:length]
    return None


def get(tree: Any, path: Path) -> Any:
    """What lies at ``path`` of nested mappings; None where nothing does."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def found(tree: Mapping[str, Any]) -> Iterator[tuple[Section, Path]]:
    """Every registered section that ``tree`` has as a mapping."""
    for kind in SECTIONS:
        places: list[Path] = [()]
        for part in kind.pattern:
            below = [(place, get(tree, place)) for place in places]
            names = [(place, list(at) if part == "*" else [part]) for place, at in below if isinstance(at, Mapping)]
            places = [(*place, name) for place, keys in names for name in keys]
        yield from ((kind, place) for place in places if isinstance(get(tree, place), Mapping))
