"""Which source a result is made by, so that an edited equation makes it anew.

The rule: a result depends on the files in which its classes are written, and on all that these import, of this library
and of a user's own modules. Left out are installed packages, whose versions are recorded beside a result, and the rooms
that decide no number (`SILENT`). Of a file counts what Python makes of it: neither comments nor docstrings nor layout.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sysconfig
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType

LIBRARY = ("apo_lightning", "data_modules", "callbacks")
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
SILENT = tuple(
    f"apo_lightning.{room}"
    for room in ("config", "console", "errors", "experiment", "progress", "registry", "reports", "settings")
)
"""Rooms that speak, or call what computes; settings stand in a key by their values."""


def sources_of(*things: type | ModuleType) -> dict[str, str]:
    """Short name of each file that is part of what ``things`` do, to the hash of what it does.

    Args:
        things: classes, with all that they extend, or modules.
    """
    todo = [item for thing in things for item in _files(thing)]
    seen: dict[str, str] = {}
    while todo:
        module, file = todo.pop()
        name = short(module)
        if name not in seen:
            seen[name], imported = _read(file, module, *_mark(file))
            todo += [(word, path) for word in imported if _is_followed(word) and (path := _file(word))]
    return dict(sorted(seen.items()))


def changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Names of files that were edited, came or went.

    >>> changed({"a.py": "1", "b.py": "2"}, {"a.py": "3", "c.py": "4"})
    ['a.py', 'b.py', 'c.py']
    """
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def short(module: str) -> str:
    """How a file is named to people: ``apo_lightning.losses.dpo`` is ``losses/dpo.py``."""
    return f"{module.removeprefix('apo_lightning.').replace('.', '/')}.py"


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


def _is_followed(module: str) -> bool:
    if module.split(".")[0] in LIBRARY:
        return "." in module and not any(module == room or module.startswith(f"{room}.") for room in SILENT)
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
    content = source(Path(file))
    try:
        tree = ast.parse(content)
    except SyntaxError:
        return hashlib.sha256(content).hexdigest(), ()
    tree = _Done().visit(tree)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(dict.fromkeys(_imported(tree, package)))


def source(file: Path) -> bytes:
    """What is written in a file."""
    return file.read_bytes()


class _Done(ast.NodeTransformer):
    """What a file does: without docstrings and other strings that stand alone, and what only a type checker reads."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_word = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_word else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


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
