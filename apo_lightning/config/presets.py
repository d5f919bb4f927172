"""Presets: files that are laid over any experiment by ``preset=NAME``, as if their settings stood on the command line.

So they override what an experiment and its arms say, the rest of the command line overrides them, and a row that they
make another one is named for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as File
from typing import Any

from apo_lightning.config.check import settings_of
from apo_lightning.config.layers import COMMAND_LINE, Layers, Word, label, read_file
from apo_lightning.config.places import places
from apo_lightning.config.registered import Path, enclosing, get
from apo_lightning.errors import ConfigError, did_you_mean

FOLDER = "presets"
KEY = ("preset",)


def unfold(words: Sequence[Word], layers: Layers, asker: File) -> list[Word]:
    """``words`` with the settings of the presets that they name in front, and a name of its own for the experiment,
    ``<name>_<preset>``, so that its folder stays what it is.

    Args:
        layers: the experiment that they are laid over.
        asker: its file: presets lie in ``presets`` beside it or above, else of the working folder's ``experiments``,
            else of the package's.

    Raises:
        ConfigError: there is no such preset.
    """
    named = [each for word in words if word.path == KEY for each in _names(word.value)]
    rest = [word for word in words if word.path != KEY]
    if not named:
        return rest
    own = [Word(("name",), "_".join([layers.tree["name"], *named]))] if layers.tree.get("name") else []
    files = [_find(each, asker) for each in named]
    laid = [Word(path, value, label(file)) for file in files for path, value in _settings(file, layers)]
    return [*own, *laid, *rest]


def _names(value: Any) -> list[str]:
    """``debug``, ``debug,profile`` or ``[debug, profile]``."""
    names = value if isinstance(value, list) else str(value).split(",")
    if not names or not all(isinstance(each, str) and each.strip() for each in names):
        raise ConfigError(f"preset must name a preset, or several with commas, got {value!r} ({COMMAND_LINE}).")
    return [each.strip() for each in names]


def _find(name: str, asker: File) -> File:
    folders = [folder / FOLDER for folder in (*asker.resolve().parents[:3], *places())]
    known = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}
    if name not in known:
        raise ConfigError(f"No preset is named '{name}' ({COMMAND_LINE}). {did_you_mean(name, known)}")
    return known[name]


def _settings(file: File, layers: Layers) -> Iterator[tuple[Path, Any]]:
    """Dotted keys and values of a preset, those left out that say nothing to this experiment: ``*`` stands for each
    name that it gives, and a registered section has to be there and to have the setting."""
    for path, value in _leaves(read_file(file)):
        for place in _places(path, layers.tree):
            kind, section = enclosing(place) or (None, ())
            if kind is None or _has(kind, section, place, layers.tree):
                yield place, value


def _has(kind: Any, section: Path, place: Path, tree: Mapping[str, Any]) -> bool:
    own = get(tree, section)
    if not isinstance(own, Mapping):
        return False
    setting, member = place[len(section)], str(kind.member(section, own))
    if setting in (*kind.own, kind.discriminator) or member not in kind.registry():
        return True  # an unknown class is told of elsewhere
    return setting in settings_of(kind.registry()[member])


def _places(path: Path, tree: Mapping[str, Any]) -> list[Path]:
    places: list[Path] = [()]
    for part in path:
        names = [(place, list(get(tree, place) or {}) if part == "*" else [part]) for place in places]
        places = [(*place, name) for place, below in names for name in below]
    return places


def _leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*path, str(key)))
    else:
        yield path, tree
