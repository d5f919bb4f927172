"""A plain tree checked against typed classes. Every problem is collected, none stops the rest."""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import functools
import inspect
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, is_dataclass
from pathlib import Path as File
from types import NoneType, UnionType
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from apo_lightning.collecting.secrets import masked
from apo_lightning.config import shape
from apo_lightning.config.layers import Layers, unknown
from apo_lightning.config.registered import Path, Section, get, section_at
from apo_lightning.errors import ApoError, ConfigError, nearest
from apo_lightning.settings import REQUIRED

WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", File: "a file name", Any: "anything"}
STAGES = ("stages",)
"""The section that has a key for every registered stage, whichever of them the experiment speaks of."""
PLAIN = (bool, int, float, str, list, tuple, dict, File)
PLURALS = {int: "integers", float: "numbers", bool: "true or false", str: "text", File: "file names"}


@dataclass(frozen=True)
class Setting:
    """One argument of a class: its type, and its default (MISSING if it must be given)."""

    hint: Any
    default: Any = MISSING


@functools.cache
def settings_of(cls: type) -> dict[str, Setting]:
    """The arguments of ``cls`` that a file can set, by name; objects that no YAML can hold are left out."""
    hints = typing.get_type_hints(cls if is_dataclass(cls) else cls.__init__)
    fields = {f.name: f for f in dataclasses.fields(cls)} if is_dataclass(cls) else {}
    found = {}
    for name, argument in inspect.signature(cls).parameters.items():
        hint = _concrete(hints.get(name, Any))
        default = MISSING if argument.default is inspect.Parameter.empty else argument.default
        if name in fields and fields[name].default_factory is not MISSING:
            default = fields[name].default_factory()
        nested = is_dataclass(hint) and not is_dataclass(cls)  # another library's
        if argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY) and _schema(hint) and not nested:
            found[name] = Setting(hint, default)
    return found


@dataclass
class Checker:
    """Reads a tree into typed objects and keeps what is wrong with it.

    Attributes:
        layers: the tree, with the origin of its values.
        problems: sentences, each with the full key and the file.
        missing: keys that must be given and are not; whoever asks decides which of them matter.
    """

    layers: Layers
    problems: list[str] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)

    def say(self, path: Path, text: str, hint: str = "") -> None:
        """Note a problem at ``path``; its origin goes between the sentence and the hint."""
        self.problems.append(f"{text} ({self.layers.origin(path)}). {hint}".rstrip())

    def read(self, cls: type, tree: Mapping[str, Any], path: Path = ()) -> Any:
        """``tree`` as an instance of the dataclass ``cls``; where values are wrong, its defaults stand in."""
        return self.construct(cls, self.values(cls, tree, path), path)

    def registered(self, kind: Section, path: Path) -> dict[str, Any] | None:
        """Check the registered section at ``path``. Returns it with its values in their right types, or None."""
        section = get(self.layers.tree, path)
        name = kind.member(path, section)
        if name is None or name == REQUIRED:
            self.missing.append(kind.named_by(path))
            return None
        if str(name) not in (registry := kind.registry()):
            known = registry.hint(str(name))
            self.say(kind.named_by(path), f"No {registry.kind} is named '{name}'", known)
            return None
        cls, before = registry[str(name)], len(self.missing)
        keep = {key: value for key, value in section.items() if key in (*kind.own, kind.discriminator)}
        values = self.values(cls, {k: v for k, v in section.items() if k not in keep}, path, kind.given)
        if before == len(self.missing):
            named = {"name": path[-1]} if "name" in kind.given and "name" in settings_of(cls) else {}
            self.construct(cls, values | named, path)
        return keep | values

    def values(self, cls: type, tree: Mapping[str, Any], path: Path, given: Collection[str] = ()) -> dict[str, Any]:
        """The given settings of ``cls`` in their right types. ``given`` ones come from the program, not from a file."""
        settings = {key: setting for key, setting in settings_of(cls).items() if key not in given}
        values, failed = {}, set()
        for key, value in tree.items():
            if key not in settings and (where := getattr(cls, "elsewhere", {}).get(key)):
                self.say((*path, key), f"{'.'.join((*path, key))} is not set here", f"{where}.")
            elif key not in settings:
                known = (*settings, *shape.stages()) if path == STAGES else settings
                self.problems.append(unknown((*path, key), self.layers.origin((*path, key)), dict.fromkeys(known)))
            elif value != REQUIRED:
                try:
                    values[key] = self.value(settings[key].hint, value, (*path, key))
                except _Mistyped:
                    failed.add(key)
        for key in [key for key in settings if key not in values and key not in failed]:
            self._absent(settings[key], key in tree, (*path, key), values)
        return {key: values[key] for key in settings if key in values}

    def value(self, hint: Any, value: Any, path: Path) -> Any:
        """One value in the type ``hint``. Nested settings and mappings of them are walked, so that each is named."""
        if value is False and "off" in _words(hint):  # as YAML reads the word
            return "off"
        if _is_already(hint, value):
            return copy.deepcopy(value)
        hint = _section(hint, value)
        below = typing.get_args(hint)[1] if typing.get_origin(hint) is dict else None
        if is_dataclass(hint) and isinstance(value, Mapping):
            return self.read(hint, value, path)
        if below and isinstance(value, Mapping) and (is_dataclass(below) or typing.get_origin(below) is dict):
            return self._entries(below, value, path)
        if not is_dataclass(hint) and not _is_unquoted(hint, value):
            try:
                laid = OmegaConf.merge(_schema(hint), {"value": value})
                return OmegaConf.to_container(laid)["value"]
            except (OmegaConfBaseException, TypeError):  # the second: a mapping where a list belongs
                pass
        told = _as_section(path, value) or nearest(str(value), _words(hint))
        if not told and _is_unquoted(hint, value):
            told = "Unquoted, YAML takes on, yes and 1e3 for something else: write '\"on\"'."
        self.say(path, f"{'.'.join(path)} must be {in_words(hint)}, got {masked(repr(value))}", told)
        raise _Mistyped

    def construct(self, cls: type, values: Mapping[str, Any], path: Path) -> Any:
        """An instance of ``cls``. A value that it refuses is noted and left out, so that the next one is seen too."""
        values = dict(values)
        while _bindable(cls, values):
            try:
                return cls(**values)
            except (ValueError, TypeError, ConfigError, MisconfigurationException) as error:
                text = str(error).rstrip(".").replace("`", "")
                key = text.split(" ")[0]
                known = key in settings_of(cls)
                self.say((*path, key) if known else path, _prefixed(text, path, known))
                if key not in values or settings_of(cls)[key].default is MISSING:
                    return None
                del values[key]
            except (ApoError, OSError):
                return None  # files and data are looked at when the run is built
        return None

    def _entries(self, hint: Any, value: Mapping[str, Any], path: Path) -> dict[str, Any]:
        entries = {}
        for key, item in value.items():
            try:
                entries[key] = self.value(hint, item, (*path, key))
            except _Mistyped:
                continue
        return entries

    def _absent(self, setting: Setting, marked: bool, path: Path, values: dict[str, Any]) -> None:
        if is_dataclass(setting.hint):
            values[path[-1]] = self.read(setting.hint, {}, path)
        elif marked or setting.default is MISSING or setting.default == REQUIRED:
            self.missing.append(path)


class _Mistyped(Exception):
    """The value was of the wrong type, and this is noted."""


def with_defaults(cls: type, values: Mapping[str, Any], given: Collection[str] = ()) -> dict[str, Any]:
    """``values`` and the defaults of all other settings of ``cls``."""
    settings = {key: setting for key, setting in settings_of(cls).items() if key not in given}
    defaults = {
        key: own.default for key, own in settings.items() if own.default is not MISSING and _is_plain(own.default)
    }
    return {**values, **{key: copy.deepcopy(default) for key, default in defaults.items() if key not in values}}


def in_words(hint: Any) -> str:
    """How messages name a type: ``a list of integers``, ``a number or null``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        return " or ".join("null" if arg is NoneType else in_words(arg) for arg in args)
    if origin in (list, tuple):
        return f"a list of {PLURALS.get(args[0], 'values')}"
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin is dict or is_dataclass(hint):
        return "a mapping (key: value)"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _words(hint: Any) -> list[str]:
    """The words that a choice allows, also one that may be null; none where any word does."""
    kinds = (hint, *typing.get_args(hint))
    return [word for kind in kinds if typing.get_origin(kind) is typing.Literal for word in typing.get_args(kind)]


def _is_already(hint: Any, value: Any) -> bool:
    """Whether nothing of a value has to be converted; asking OmegaConf takes a hundred times as long."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return type(value) is list and all(type(item) is args[0] for item in value)
    if origin is dict and args[1] is Any:
        return type(value) is dict and all(type(key) is args[0] for key in value)
    return type(value) is hint


def _is_plain(value: Any) -> bool:
    """Whether a file can hold a default; another library's may be a device or a theme."""
    return value is None or isinstance(value, PLAIN)


def _as_section(path: Path, value: Any) -> str:
    """How a name that stands where its section belongs is written; empty where it is none."""
    kind = section_at(path)
    if kind is None or not kind.discriminator or not isinstance(value, str) or value not in kind.registry():
        return ""
    return f"Write {'.'.join(path)}={{{kind.discriminator}: {value}}}."


def _is_unquoted(hint: Any, value: Any) -> bool:
    """Whether a text is meant of which YAML has made something else, so that the words of it are lost."""
    kinds = typing.get_args(hint) or (hint,)
    return str in kinds and type(value) in (bool, float) and not {bool, float} & set(kinds)


def _section(hint: Any, value: Any) -> Any:
    """The settings that an optional section holds, where it is given; every other ``hint`` as it is."""
    inside = [arg for arg in typing.get_args(hint) if is_dataclass(arg)]
    optional = typing.get_origin(hint) in (typing.Union, UnionType)
    return inside[0] if optional and inside and isinstance(value, Mapping) else hint


def _concrete(hint: Any) -> Any:
    """Abstract containers as the plain ones that YAML gives."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is collections.abc.Mapping:
        return dict[args]
    if origin in (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection):
        return list[args]
    if origin in (typing.Union, UnionType) and not _schema(hint):
        return _what_files_hold(args) or hint
    return hint


def _what_files_hold(args: Sequence[Any]) -> Any:
    """Those of several types that a file can give: of ``str | Profiler | None`` a text or null."""
    held = [arg for arg in args if arg is not NoneType and not is_dataclass(arg) and _schema(_concrete(arg))]
    return typing.Union[(*held, *(arg for arg in args if arg is NoneType))] if held else None


@functools.cache
def _schema(hint: Any) -> type | None:
    """A dataclass with one field of type ``hint``, or None where OmegaConf cannot hold that type."""
    schema = dataclasses.make_dataclass("Value", [("value", hint, REQUIRED)])
    try:
        OmegaConf.structured(schema)
    except (OmegaConfBaseException, ValueError):
        return None
    return schema


def _bindable(cls: type, values: Mapping[str, Any]) -> bool:
    """Whether ``values`` are all that ``cls`` needs; some take objects that only a run can give."""
    try:
        inspect.signature(cls).bind(**values)
    except TypeError:
        return False
    return True


def _prefixed(text: str, path: Path, known: bool) -> str:
    section = ".".join(path)
    return f"{section}{'.' if known else ': '}{text}" if section else text
