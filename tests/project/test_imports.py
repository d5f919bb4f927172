"""Rooms import downwards only, no files import each other in a circle, and every module can be imported.

`ORDER` is the plan of docs/architecture.md: a room may import from itself and from those that stand before it. What is
imported inside a function, or for a type checker alone, counts too.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

ORDER = (
    "errors",
    "types",
    "findings",
    "signals",
    "files",
    "hashing",
    "console",
    "progress",
    "leader",
    "project",
    "registry",
    "settings",
    "identifiers",
    "functional",
    "layers",
    "prompts",
    "phantom",
    "caches",
    "trajectories",
    "text",
    "metrics",
    "losses",
    "data_modules.tables",
    "data_modules.images",
    "data_modules.loading",
    "data_modules.base",
    "data_modules.folder",
    "data_modules.archives",
    "data_modules",
    "scoring",
    "models",
    "collecting",
    "own_texts",
    "teachers",
    "batching",
    "recording",
    "stages",
    "serving",
    "positives",
    "negatives",
    "probes",
    "weighting",
    "drift",
    "callbacks",
    "config",
    "reports",
    "experiment",
    "planning",
    "using",
    "nano",
    "starter",
    "cli",
    "__main__",
)
PACKAGES = ("apo_lightning", "data_modules", "callbacks")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def room(module: str) -> str:
    """``apo_lightning.losses.dpo`` lies in room ``losses``; the data sets have rooms of their own below them."""
    parts = module.removeprefix("apo_lightning.").split(".")
    inner = ".".join(parts[:2])
    return inner if parts[0] == "data_modules" and inner in ORDER else parts[0]


def imported(tree: ast.AST, module: str, known: Iterable[str] = MODULES) -> Iterator[tuple[int, str]]:
    """Line and name of each of our modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: relative import; name the package"
            source = node.module or ""
            names = [name if (name := f"{source}.{alias.name}") in known else source for alias in node.names]
            yield from ((node.lineno, name) for name in names if name in known and name != "apo_lightning")


def too_high(tree: ast.AST, module: str, known: Iterable[str] = MODULES) -> list[str]:
    own = ORDER.index(room(module))
    return [
        f"{module}, line {line}: imports {name}, whose room lies above"
        for line, name in imported(tree, module, known)
        if ORDER.index(room(name)) > own
    ]


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The first circle that is found, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_has_its_place() -> None:
    homeless = {room(module) for module in MODULES if module != "apo_lightning"} - set(ORDER)
    assert homeless == set(), "give these a place in ORDER and in docs/architecture.md"


@pytest.mark.parametrize("module", [module for module in MODULES if module != "apo_lightning"])
def test_imports_go_one_way(module: str) -> None:
    assert too_high(ast.parse(MODULES[module].read_text("utf-8")), module) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    trees = {module: ast.parse(path.read_text("utf-8")) for module, path in MODULES.items()}
    graph = {m: {name for _, name in imported(tree, m) if name != m} for m, tree in trees.items()}
    assert circle(graph) == []


@pytest.mark.parametrize(
    ("module", "code", "problems"),
    [
        ("apo_lightning.functional.mixture", "from apo_lightning.types import Study", 0),
        ("apo_lightning.losses.dpo", "import apo_lightning.losses.base", 0),
        ("apo_lightning.losses.dpo", "from apo_lightning import experiment", 1),
        ("apo_lightning.scoring", "def f():\n    from data_modules.base import CXRDataModule", 0),
        ("apo_lightning.text.labeler", "from apo_lightning.metrics import findings", 1),
        ("data_modules.base", "import callbacks, apo_lightning.cli", 2),
        ("data_modules.images.dicom", "from data_modules import base", 1),
        ("data_modules.tables", "if TYPE_CHECKING:\n    from data_modules.images import headers", 1),
    ],
)
def test_the_walk_itself(module: str, code: str, problems: int) -> None:
    assert len(too_high(ast.parse(code), module)) == problems


def test_a_circle_is_found() -> None:
    assert circle({"a": ["b"], "b": ["c"], "c": []}) == []
    assert set(circle({"a": ["b"], "b": ["c"], "c": ["a"]})) == {"a", "b", "c"}


@pytest.mark.parametrize("module", [module for module in MODULES if not module.endswith("__main__")])
def test_every_module_imports(module: str) -> None:
    importlib.import_module(module)
