"""Which source a result is made by, so that an edited equation makes it anew.

The rule: a result depends on the files in which its classes are written, and on all that these import, of this library
and of a user's own modules, with the packages that these lie in. Left out are installed packages, whose versions are
recorded beside a result, and the rooms and files that decide no number (`SILENT`). Of a file counts what Python makes
of it: neither comments nor docstrings nor layout. A file counts as it was when this process loaded it: what is edited
while a run goes on is not what the run computes with.

Not seen: a module that is imported under a name which is put together while the program runs, a file that a module
opens by itself, and code that is no Python file.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

LIBRARY = ("apo_lightning", "data_modules", "callbacks")
INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
PACKAGES = {"site-packages", "dist-packages"}
"""Folders of installed packages, a user's own ones among them."""
SILENT = (
    "cli", "config", "console", "errors", "leader", "progress", "project", "registry", "reports", "serving",
    "settings", "signals", "files.disk", "files.locks", "hashing.inventory", "hashing.sources",
    *(f"experiment.{name}" for name in (
        "cache_keys", "caching", "checks", "context", "costs", "curves", "drift_files", "drift_labels", "drift_models",
        "drift_sources", "explain", "failure_files", "faults", "further_sets", "gating", "jsonl_logger", "long_texts",
        "machine", "membership",
        "noise", "objective", "observing", "once", "overall", "pipeline", "pool", "processes", "pruned",
        "rehearsal", "rejecting", "results", "rounds", "run", "run_folder", "run_names", "sample_files", "served",
        "stage_folder", "stage_logger", "steps", "store", "sweeps", "teacher_tokens", "told_labels", "told_texts",
        "tracking", "upkeep", "watching", "weighing", "writing",
    )),
)  # fmt: skip
"""Rooms and files that speak, keep folders and processes, or put together what computes; settings stand in a key by
their values."""
RUNNER, COUNTING = "apo_lightning.experiment", "apo_lightning.metrics"
"""The runner counts answers anew for every table, and what it chooses by them stands in a key: what it imports of the
metrics is not followed. A strategy for t+ that goes by a metric depends on it."""


def sources_of(*things: type | ModuleType) -> dict[str, str]:
    """Short name of each file that is part of what ``things`` do, to the hash of what it does.

    Args:
        things: classes, with all that they extend, or modules.
    """
    todo = [item for thing in things for item in _files(thing)]
    seen: dict[str, str] = {}
    while todo:
        module, file = todo.pop()
        name = short(module, file)
        if name not in seen:
            seen[name], imported = _reading(module, file).meant
            found = dict.fromkeys(part for word in (module, *imported) for part in _with_packages(word))
            counted = COUNTING if module.startswith(RUNNER) else " "
            words = (word for word in found if _is_followed(word) and not word.startswith(counted))
            todo += [(word, path) for word in words if (path := _file(word))]
    return dict(sorted(seen.items()))


def remember() -> None:
    """Take every module of ours for what it is now. A run that begins with this knows what it computes with, whatever
    is edited before its first key."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and _is_ours(name, file):
            _reading(name, file)


def changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Names of files that were edited, came or went.

    >>> changed({"a.py": "1", "b.py": "2"}, {"a.py": "3", "c.py": "4"})
    ['a.py', 'b.py', 'c.py']
    """
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


@cache
def short(module: str, file: str) -> str:
    """How a file is named to people; a user's own modules cannot have the name of one of the library's.

    >>> short("apo_lightning.losses.dpo", "dpo.py"), short("apo_lightning.losses", "__init__.py")
    ('losses/dpo.py', 'losses/__init__.py')
    >>> short("losses.mine", "mine.py")
    './losses/mine.py'
    """
    own = "" if module.split(".")[0] in LIBRARY else "./"
    path = module.removeprefix("apo_lightning.").replace(".", "/")
    return f"{own}{path}/__init__.py" if os.path.basename(file) == "__init__.py" else f"{own}{path}.py"


def now(name: str) -> str | None:
    """Hash of the file that `short` names so, as it is on the disk; None where no such file can be found."""
    path = name.removeprefix("./").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    module = path if name.startswith("./") or path.split(".")[0] in LIBRARY else f"apo_lightning.{path}"
    file = _file(module)
    return _meaning(source(Path(file)), _package(module, file))[0] if file and Path(file).is_file() else None


def source(file: Path) -> bytes:
    """What is written in a file."""
    return file.read_bytes()


@dataclass(frozen=True)
class _Reading:
    """A file as it was when the process loaded its module.

    Attributes:
        loaded: the module's spec, which is another one once it is loaded again; None: it is not loaded.
        mark: size and times of the file.
        meant: hash of what the file does, and the modules that it imports.
    """

    loaded: Any
    mark: tuple[int, ...]
    meant: tuple[str, tuple[str, ...]]


_held: dict[str, _Reading] = {}
"""File to what was read of it."""


def _reading(module: str, file: str) -> _Reading:
    loaded, held = getattr(sys.modules.get(module), "__spec__", None), _held.get(file)
    if held is None or held.loaded is not loaded or (loaded is None and held.mark != _mark(file)):
        held = _held[file] = _Reading(loaded, *_read(module, file))
    return held


def _read(module: str, file: str) -> tuple[tuple[int, ...], tuple[str, tuple[str, ...]]]:
    try:
        return _mark(file), _meaning(source(Path(file)), _package(module, file))
    except OSError:  # compiled, zipped or gone: nothing is known of it but its name
        return (), ("", ())


def _mark(file: str) -> tuple[int, ...]:
    try:
        state = Path(file).stat()
    except OSError:
        return ()
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


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
    return module.split(".")[0] in LIBRARY or not _is_installed(file)


@cache
def _is_installed(file: str) -> bool:
    path = Path(file)
    return bool(PACKAGES & set(path.parts)) or any(path.is_relative_to(folder) for folder in INSTALLED)


@cache
def _is_followed(module: str) -> bool:
    top, _, own = module.partition(".")
    if top == "apo_lightning":
        return bool(own) and not any(own == silent or own.startswith(f"{silent}.") for silent in SILENT)
    return top in LIBRARY or _is_of_user(top)


@cache
def _is_of_user(top: str) -> bool:
    """Whether a package or module, by its first name, is neither installed nor built in."""
    try:
        spec = find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return False
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    known = [place for place in places if Path(place).is_absolute()]
    return bool(known) and not any(map(_is_installed, known))


def _with_packages(module: str) -> Iterator[str]:
    """A module, and the packages above it, whose code runs before it: ``a.b.c`` is ``a``, ``a.b`` and ``a.b.c``."""
    parts = module.split(".")
    yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def _package(module: str, file: str) -> str:
    return module if os.path.basename(file) == "__init__.py" else module.rpartition(".")[0]


@cache
def _file(module: str) -> str | None:
    """The Python file of a module, without importing it; None where it has none."""
    try:
        spec = find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    return spec.origin if spec and spec.origin and spec.origin.endswith(".py") else None


@lru_cache(maxsize=1024)
def _meaning(content: bytes, package: str) -> tuple[str, tuple[str, ...]]:
    """Hash of what a file does, and the modules that it imports."""
    try:
        tree = _Done().visit(ast.parse(content))
        said = repr(_plain(tree)).encode()
    except (SyntaxError, ValueError, RecursionError):
        return hashlib.sha256(content).hexdigest(), ()
    return hashlib.sha256(said).hexdigest(), tuple(dict.fromkeys(_imported(tree, package)))


def _plain(node: Any) -> Any:
    """A tree without its empty fields: those of a newer Python than the one that made a result are not told apart."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return type(node).__name__, *((name, _plain(value)) for name, value in fields)
    return [_plain(item) for item in node] if isinstance(node, list) else node


class _Done(ast.NodeTransformer):
    """What a file does: without docstrings and other strings that stand alone, and what only a type checker reads."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_word = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_word else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.AST]:
        whole = self.generic_visit(node)
        named = node.test.id if isinstance(node.test, ast.Name) else getattr(node.test, "attr", None)
        return whole.orelse if named == "TYPE_CHECKING" else whole


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Modules that a file imports, at its top or inside a function, by a statement or by a name in quotes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if name := _resolved("." * node.level + (node.module or ""), package):
                yield name
                yield from (f"{name}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield _resolved(node.args[0].value, package) or ""


def _resolved(name: str, package: str) -> str | None:
    """The whole name of a module that is imported as ``name`` inside of ``package``."""
    try:
        return resolve_name(name, package) if name.startswith(".") else name
    except ImportError:
        return None
