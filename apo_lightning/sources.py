"""Which source a result is made by, so that an edited file of an extension makes it anew.

The library as a whole is known by its version. What a user adds to it or edits in it (a teacher, a data set, a loss, a
callback) keeps that version, and is known by its content: the file of the class, those of the classes that it extends,
and what these import from their own room or from outside the library.
"""

from __future__ import annotations

import ast
import inspect
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

from apo_lightning.digests import content_digest, digest

LIBRARY = ("apo_lightning", "data_modules", "callbacks")
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def code_of(*things: type | ModuleType, rooms: Sequence[str] = ()) -> str:
    """Hash of the files behind classes and modules.

    Args:
        things: classes, with all they extend, or modules.
        rooms: packages of the library whose modules are followed too, where one is imported.
    """
    todo = [item for thing in things for item in _files(thing)]
    seen: dict[str, str] = {}
    while todo:
        name, file = todo.pop()
        if name not in seen:
            seen[name], imported = _read(file, name, *_mark(file))
            todo += [(word, path) for word in imported if _is_followed(word, rooms) and (path := _file(word))]
    return digest(sorted(seen.items()))


def _files(thing: type | ModuleType) -> Iterator[tuple[str, str]]:
    """Name and file of a module, or of those in which a class and what it extends are written."""
    if isinstance(thing, ModuleType):
        yield thing.__name__, str(thing.__file__)
        return
    for cls in thing.__mro__:
        try:
            file = inspect.getfile(cls)
        except (TypeError, OSError):  # built in, or made while the program ran
            continue
        if _is_ours(cls.__module__, file):
            yield cls.__module__, file


def _is_ours(module: str, file: str) -> bool:
    return module.split(".")[0] in LIBRARY or not file.startswith(INSTALLED)


def _is_followed(module: str, rooms: Sequence[str]) -> bool:
    if module.split(".")[0] in LIBRARY:
        return any(module == room or module.startswith(f"{room}.") for room in rooms)
    top = _file(module.split(".")[0])
    return top is not None and not top.startswith(INSTALLED)


@cache
def _file(module: str) -> str | None:
    """The Python file of a module, without importing it; None where it has none."""
    try:
        spec = find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    return spec.origin if spec and spec.origin and spec.origin.endswith(".py") else None


def _mark(file: str) -> tuple[int, ...]:
    state = Path(file).stat()
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


@lru_cache(maxsize=512)
def _read(file: str, module: str, *mark: int) -> tuple[str, tuple[str, ...]]:
    """Hash of a file, and the modules that it imports; read again when it has changed."""
    package = module if Path(file).name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree: Any = ast.parse(Path(file).read_bytes())
    except SyntaxError:
        tree = ast.Module([], [])
    return content_digest(Path(file)), tuple(dict.fromkeys(_imported(tree, package)))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            try:
                source = resolve_name(name, package) if node.level else name
            except ImportError:
                continue
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)
