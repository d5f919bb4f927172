"""Rooms may use rooms of their own level and of lower ones, and every module can be imported."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

LEVELS = (
    (
        "types",
        "errors",
        "limits",
        "registry",
        "report_settings",
        "settings",
        "probe_settings",
        "setting_checks",
        "plain_settings",
        "files",
        "jsonlines",
        "characters",
        "disk",
        "inventory",
        "signals",
        "file_kinds",
        "identifiers",
        "matching",
        "whole_numbers",
        "console",
        "csv_cells",
        "digests",
        "sources",
        "disk",
        "inventory",
    ),
    ("functional", "prompts", "stores", "trajectory_files"),
    (
        "collate",
        "families",
        "image_records",
        "processor",
        "student",
        "text_tokens",
        "models",
        "saved_students",
        "scoring",
        "stores",
        "losses",
        "metrics",
        "teachers",
        "phantom",
        "examples",
        "sizes",
    ),
    ("stages", "data_modules", "callbacks", "drift"),
    (
        "config",
        "arms",
        "loss_stages",
        "sections",
        "overrides",
        "typed",
        "rules",
        "reports",
        "artifacts",
        "training",
        "checkpoints",
        "shard_files",
        "locks",
        "processes",
        "machine",
    ),
    (
        "run",
        "rehearsal",
        "explain",
        "further_sets",
        "pipeline",
        "positives",
        "preferred",
        "once",
        "caching",
        "observing",
        "evaluation",
        "probes",
        "results",
        "failure_files",
        "sample_files",
        "stage_files",
        "stage_inputs",
        "sweep",
        "nano",
        "cli",
        "data_cli",
        "audit_cli",
        "__main__",
    ),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms} | {"__init__": 0}
PACKAGES = ("apo_lightning", "data_modules", "callbacks")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """``apo_lightning.losses.dpo`` lies in room ``losses``, ``data_modules.base`` in ``data_modules``."""
    parts = module.split(".")
    if parts[0] != "apo_lightning":
        return parts[0]
    return parts[1] if len(parts) > 1 else "__init__"


def imported(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Line and name of each of our modules that a file imports, inside functions too."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: relative import; name the package"
            source = node.module or ""
            names = [f"{source}.{alias.name}" for alias in node.names] if source == "apo_lightning" else [source]
        names = [name for name in names if name.split(".")[0] in PACKAGES and not name.endswith(".__version__")]
        yield from ((node.lineno, name) for name in names)


def too_high(tree: ast.AST, module: str) -> list[str]:
    own = LEVEL[room(module)]
    return [
        f"{module}, line {line}: imports {name}, which lies above it"
        for line, name in imported(tree, module)
        if LEVEL[room(name)] > own
    ]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    module = module_name(path)
    assert room(module) in LEVEL, f"{module} lies in a room without a level: give '{room(module)}' one in LEVELS"
    assert too_high(ast.parse(path.read_text("utf-8")), module) == []


@pytest.mark.parametrize(
    ("module", "code", "problems"),
    [
        ("apo_lightning.functional.mixture", "from apo_lightning.types import Study", 0),
        ("apo_lightning.losses.dpo", "import apo_lightning.losses.base", 0),
        ("apo_lightning.losses.dpo", "from apo_lightning import run", 1),
        ("apo_lightning.scoring", "def f():\n    from data_modules.base import CXRDataModule", 1),
        ("data_modules.base", "import callbacks.writer, apo_lightning.cli", 1),
    ],
)
def test_the_walk_itself(module: str, code: str, problems: int) -> None:
    assert len(too_high(ast.parse(code), module)) == problems


@pytest.mark.parametrize("module", [module_name(path) for path in FILES if path.stem != "__main__"])
def test_every_module_imports(module: str) -> None:
    importlib.import_module(module)
