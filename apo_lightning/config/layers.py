"""Files and ``key=value`` words, laid over each other into one plain tree that remembers where each value came from."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from apo_lightning.collecting.secrets import masked
from apo_lightning.config.places import EXPERIMENTS, SHIPPED, places
from apo_lightning.config.registered import Path, get, section_at
from apo_lightning.errors import ConfigError, did_you_mean
from apo_lightning.files import yaml_files
from apo_lightning.files.limits import MAX_EXTENDED

COMMAND_LINE = "command line"
NAMED = (("teachers",), ("arms",), ("evaluate", "sets"))
"""Mappings whose keys are names that the experiment gives."""
ENV_SECRET = re.compile(r"(?i)\$\{\s*oc\.env\s*:\s*(\w*(?:key|token|secret|passw|credential)\w*)")
"""A variable of the environment that a value is filled in from, and whose name says that it is secret."""


@dataclass(frozen=True)
class Word:
    """One ``key=value`` of the command line, its value read as YAML."""

    path: Path
    value: Any
    source: str = COMMAND_LINE


@dataclass
class Layers:
    """A tree of plain containers, and for each of its leaves the file (or the command line) that set it."""

    home: str
    """Label of the experiment file: where a value should have stood that nobody gave."""
    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    files: int = 0
    """Files that were laid over each other."""

    def lay(self, over: Mapping[str, Any], source: str, path: Path = ()) -> None:
        """Merge ``over`` in at ``path``: mappings merge, everything else replaces.

        A section that names another class than the one it lies over replaces it, since settings of the old class mean
        nothing to the new one; so does each value of an arm's ``set``.
        """
        for key, value in over.items():
            here = (*path, str(key))
            under = get(self.tree, here)
            if isinstance(value, Mapping) and isinstance(under, Mapping) and not _replaces(here, under, value):
                self.lay(value, source, here)
            else:
                self._write(here, value, source)

    def put(self, path: Path, value: Any, source: str, whole: bool = False) -> str | None:
        """Set the dotted key ``path``; a mapping merges, or with ``whole`` replaces what was there.

        Returns:
            What is wrong with the key, or None. Teachers, arms and sets cannot be added by a dotted key.
        """
        named = next((len(above) for above in NAMED if path[: len(above)] == above and len(path) > len(above)), None)
        if named and path[named] not in (known := get(self.tree, path[:named]) or {}):
            return unknown(path[: named + 1], source, known)
        under = get(self.tree, path)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        if both and not whole and not _replaces(path, under, value):
            self.lay(value, source, path)
        else:
            self._write(path, value, source)
        return None

    def drop(self, path: Path, unwanted: Callable[[str], bool]) -> None:
        """Take the unwanted keys out of the mapping at ``path``."""
        for key in [key for key in get(self.tree, path) if unwanted(key)]:
            del get(self.tree, path)[key]
            self.origins = {leaf: o for leaf, o in self.origins.items() if leaf[: len(path) + 1] != (*path, key)}

    def origin(self, path: Path) -> str:
        """Where the value at ``path`` came from; for a section, where any part of it did."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
            below = [source for leaf, source in self.origins.items() if leaf[:length] == path[:length]]
            if below:
                return below[-1] if length == len(path) else self.home
        return self.home

    def resolve(self) -> None:
        """Replace ``${other.key}`` by the value it points at, ``${oc.env:NAME}`` by a variable of the environment.

        Raises:
            ConfigError: it points at nothing, or at a variable that is called a key.
        """
        for path, value in _strings(self.tree):
            if found := ENV_SECRET.search(value):
                raise ConfigError(
                    f"{'.'.join(path)} must not hold the variable {found[1]} ({self.origin(path)}): a setting stands "
                    "in every copy of the run. Where a setting asks for a key, it wants the variable's name."
                )
        try:
            self.tree = OmegaConf.to_container(OmegaConf.create(self.tree), resolve=True)
        except OmegaConfBaseException as error:
            key = getattr(error, "full_key", None) or "a value"
            raise ConfigError(f"{key} cannot be resolved: {str(error).splitlines()[0]} ({self.home}).") from error

    def copy(self) -> Layers:
        """A deep copy, to lay an arm over."""
        return copy.deepcopy(self)

    def _write(self, path: Path, value: Any, source: str) -> None:
        at = self.tree
        for key in path[:-1]:
            at[key] = at[key] if isinstance(at.get(key), dict) else {}
            at = at[key]
        at[path[-1]] = _plain(value)
        apart = {leaf for leaf in self.origins if any(a != b for a, b in zip(leaf, path, strict=False))}
        self.origins = {leaf: self.origins[leaf] for leaf in self.origins if leaf in apart}
        self.origins |= {(*path, *leaf): source for leaf in _leaves(value)}


def _strings(node: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text below a node, with its place."""
    if isinstance(node, str):
        yield path, node
    below = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in below:
        yield from _strings(value, (*path, str(key)))


def unknown(path: Path, source: str, known: Iterable[str]) -> str:
    """The sentence for a key that does not exist."""
    return f"Unknown key '{'.'.join(path)}' ({source}). {did_you_mean(path[-1], known)}"


def read_words(overrides: Sequence[str]) -> list[Word]:
    """Parse ``key=value`` words; a key of an arm's ``set`` keeps its own dots.

    Raises:
        ConfigError: every word that has no ``=`` or whose value is not YAML.
    """
    words, problems = [], []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            problems.append(f"'{masked(text)}' is not of the form key=value ({COMMAND_LINE}).")
            continue
        try:
            yaml_files.measure(value)
            words.append(Word(_split(key), OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]))["value"]))
        except yaml_files.Refused as error:
            problems.append(f"The value of '{masked(key)}' is refused: {error} ({COMMAND_LINE}).")
        except (yaml.YAMLError, OmegaConfBaseException):
            problems.append(
                f"The value of '{masked(text)}' is not valid YAML ({COMMAND_LINE}). Quote it: key='\"value\"'."
            )
    if problems:
        raise ConfigError("\n".join(problems))
    return words


def read_file(path: File) -> dict[str, Any]:
    """The top-level mapping of a YAML file, ``${...}`` left as they stand.

    Raises:
        ConfigError: no such file, not UTF-8, not YAML (with the line), empty, or not a mapping.
    """
    name = label(path)
    try:
        text = yaml_files.read_text(path)
        loaded = OmegaConf.to_container(OmegaConf.load(io.StringIO(text))) if text.strip() else None
    except OmegaConfBaseException as error:
        what = str(error).splitlines()[0]
        raise ConfigError(f"{name}: {getattr(error, 'full_key', None) or 'a value'} is refused: {what}") from error
    except yaml.YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{line}: not valid YAML: {what or error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not a text file in UTF-8: {error.reason} at byte {error.start}.") from error
    except OSError as error:
        if not path.is_file():
            raise ConfigError(f"There is no file {name}.") from error
        loaded = 0  # OmegaConf reports a lone number or word as an input error
    if loaded is None or loaded == {}:
        raise ConfigError(f"{name} is empty. An experiment needs at least a name, data, teachers and arms.")
    if not isinstance(loaded, dict):
        raise ConfigError(f"{name} must hold a mapping (key: value) at its top level, not {type(loaded).__name__}.")
    return loaded


def read_layers(path: File) -> Layers:
    """An experiment file over the files that it extends."""
    layers = Layers(home=label(path))
    _extend(layers, path, ())
    return layers


def label(path: File) -> str:
    """How messages name a file: relative to the working folder if it lies in it."""
    here, full = File.cwd().resolve(), path.resolve()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(path)


def _extend(layers: Layers, path: File, above: tuple[File, ...]) -> None:
    if path.resolve() in above:
        chain = " -> ".join(label(file) for file in (*above, path))
        raise ConfigError(f"Files extend each other in a circle: {chain}. Remove one of the extends.")
    layers.files += 1
    if layers.files > MAX_EXTENDED:
        raise ConfigError(f"{layers.home} extends more than {MAX_EXTENDED} files, the most that are read.")
    own = read_file(path)
    bases = own.pop("extends", None) or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"extends must be a list of file names, got {bases!r} ({label(path)}).")
    for base in bases:
        _extend(layers, _find_base(base, path), (*above, path.resolve()))
    layers.lay(own, label(path))


def _find_base(name: str, asker: File) -> File:
    """``name`` beside the file that extends it, or in a folder above, up to ``experiments``; else in the
    ``experiments`` of the working folder, else among those of the package."""
    name = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    for folder in asker.resolve().parents:
        if (folder / name).is_file():
            return folder / name
        if folder.name == EXPERIMENTS.name or folder == SHIPPED:
            break
    for folder in places():
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(
        f"extends names '{name}', but there is no such file beside {label(asker)}, in a folder above it, or in "
        f"{' or '.join(str(folder.resolve()) for folder in places())}."
    )


def _split(key: str) -> Path:
    parts = tuple(key.split("."))
    if len(parts) > 4 and parts[0] == "arms" and parts[2] == "set":
        return (*parts[:3], ".".join(parts[3:]))
    return parts


def _replaces(path: Path, under: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    if len(path) == 4 and path[0] == "arms" and path[2] == "set":
        return True
    if path == ("teachers",) and "from" in over:  # all teachers of a file, in the place of others
        return True
    kind = section_at(path)
    name = kind.discriminator if kind else ""
    return bool(name) and name in over and name in under and over[name] != under[name]


def _plain(value: Any) -> Any:
    return {str(key): _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else copy.copy(value)


def _leaves(value: Any) -> list[Path]:
    if not isinstance(value, Mapping) or not value:
        return [()]
    return [(str(key), *leaf) for key, item in value.items() for leaf in _leaves(item)]
