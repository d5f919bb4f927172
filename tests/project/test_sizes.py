"""Files of at most 300 lines, functions of at most 50. The lists of exceptions only shrink."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

FILE_LINES, BODY_LINES = 300, 50
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}
FILES = sorted(
    path
    for folder in ("apo_lightning", "data_modules", "callbacks", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement behind the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    name, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
    assert len(text.splitlines()) <= LONG_FILES.get(name, FILE_LINES), "split this file"
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f"{name}:{function.name}": body_lines(function) for function in functions}
    assert {key: lines for key, lines in long.items() if lines > LONG_FUNCTIONS.get(key, BODY_LINES)} == {}


def test_body_is_counted_without_its_docstring() -> None:
    function = ast.parse('def f():\n    """Two\n    lines."""\n    x = 1\n\n    return x\n').body[0]
    assert isinstance(function, ast.FunctionDef)
    assert body_lines(function) == 3
