"""One dictionary per kind of extension; the files of a folder register themselves."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from apo_lightning import project
from apo_lightning.errors import ApoError, ConfigError, did_you_mean

T = TypeVar("T")


class Registry(dict[str, type]):
    """Name to class, filled by decorators in the modules of one package.

    Args:
        kind: singular noun used in error messages, for example ``"loss"``.

    Attributes:
        elsewhere: names that are no member, to a sentence that says what to do instead.
        alias: the member that a name which is none may stand for; who looks it up gets that one.
    """

    alias: Callable[[str], str] = staticmethod(str)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.elsewhere: dict[str, str] = {}

    def __missing__(self, name: str) -> type:
        if name not in self:
            raise KeyError(name)
        return self[self.alias(name)]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and super().__contains__(self.alias(name)))

    def get(self, name: str, default: Any = None) -> Any:
        """The class filed under a name, or under what it stands for."""
        try:
            return self[name]
        except KeyError:
            return default

    def hint(self, name: str) -> str:
        """What to do about a name that is no member."""
        return self.elsewhere.get(name) or did_you_mean(name, self)

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator that files its class under ``name``.

        Raises:
            ConfigError: another class already holds the name.
        """

        def add(item: T) -> T:
            held = self.get(name)
            if held is not None and (held.__module__, held.__qualname__) != (item.__module__, item.__qualname__):
                raise ConfigError(
                    f"Two {self.kind} classes are named '{name}': {held.__module__} and {item.__module__}."
                )
            self[name] = item
            return item

        return add

    def lookup(self, name: str) -> type:
        """Class filed under ``name``.

        Raises:
            ConfigError: nothing is filed there; the message names the nearest and all known names.
        """
        if name not in self:
            raise ConfigError(f"No {self.kind} is named '{name}'. {self.hint(name)}")
        return self[name]


def discover(package: ModuleType) -> None:
    """Import every module of ``package`` once, so that their ``register`` calls run, and behind them those that the
    working folder has for it (`project`): they become modules of the package.

    Raises:
        ConfigError: what the working folder has cannot be read or imported.
    """
    name = package.__name__
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        importlib.import_module(f"{name}.{module.name}")
    own = project.folder(kind := name.rpartition(".")[2])
    if own is not None:
        package.__path__ = project.extended(package.__path__, kind)
        for module in sorted(pkgutil.iter_modules([str(own)]), key=lambda m: m.name):
            _import_own(f"{name}.{module.name}", own / f"{module.name}.py")


def _import_own(name: str, file: Path) -> None:
    try:
        importlib.import_module(name)
    except ApoError as error:
        raise ConfigError(f"{error} ({file})") from error
    except Exception as error:
        where, kind = f"{file}{_line(error, file)}", type(error).__name__
        raise ConfigError(f"{where} cannot be imported: {kind}: {error}") from error


def _line(error: Exception, file: Path) -> str:
    """The line of ``file`` at which its import failed, as a message names it."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""
