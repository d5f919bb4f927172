"""Whether the Python of a page holds together: it parses, what it imports is there, every name is known, and calls of
imported things have arguments that these take."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from tests.helpers.doc_blocks import Block


def wrong(blocks: Sequence[Block]) -> list[str]:
    """What is wrong with the blocks of one page, read one behind the other as a reader types them."""
    names: dict[str, Any] = dict(vars(builtins))
    return [f"{block.where}: {text}" for block in blocks for text in _wrong(block, names)]


def _wrong(block: Block, names: dict[str, Any]) -> Iterator[str]:
    """``names`` (to what is imported under it, None for what is made) gains those of the block."""
    try:
        tree = ast.parse(block.body)
    except SyntaxError as error:
        yield f"line {error.lineno} is not Python: {error.msg}"
        return
    if block.why:
        names |= dict.fromkeys(_bound(tree))
        return
    nodes = list(ast.walk(tree))
    names |= dict.fromkeys(_bound(tree))
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node, names)
    loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    yield from (f"'{name}' is not said before" for name in sorted(loaded - names.keys()))
    for node in nodes:
        if isinstance(node, ast.Call) and (problem := _refused(node, names)):
            yield problem


def _bound(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.ExceptHandler) and node.name
        ):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.split(".")[0]


def _imported(node: ast.Import | ast.ImportFrom, names: dict[str, Any]) -> Iterator[str]:
    for alias in node.names:
        path = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        try:
            found = _found(path)
        except (ImportError, AttributeError) as error:
            yield f"{path}: {error}"
            continue
        whole = isinstance(node, ast.Import) and not alias.asname
        names[alias.asname or alias.name.split(".")[0]] = _found(path.split(".")[0]) if whole else found


def _found(path: str) -> Any:
    """The module, or what a module holds, at a dotted path."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        home, _, name = path.rpartition(".")
        if not home:
            raise
        return getattr(importlib.import_module(home), name)


def _refused(call: ast.Call, names: dict[str, Any]) -> str:
    """Why something imported would refuse the arguments of a call; "" where nothing says so."""
    try:
        made = _value(call.func, names)
        signature = inspect.signature(made)
    except (LookupError, TypeError, ValueError):
        return ""
    except AttributeError as error:
        return str(error)
    given = [None for each in call.args if not isinstance(each, ast.Starred)]
    try:
        signature.bind_partial(*given, **{word.arg: None for word in call.keywords if word.arg})
    except TypeError as error:
        return f"{ast.unparse(call.func)}: {error}"
    return ""


def _value(node: ast.AST, names: dict[str, Any]) -> Any:
    """What ``a.b.c`` means where ``a`` is imported.

    Raises:
        LookupError: it is not.
        AttributeError: it has no such attribute.
    """
    if isinstance(node, ast.Name) and names.get(node.id) is not None:
        return names[node.id]
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr)
    raise LookupError
