"""The registry: lookups that miss, names taken twice, files that are discovered."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from apo_lightning.errors import ConfigError
from apo_lightning.losses import LOSSES
from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.positives import POSITIVES
from apo_lightning.registry import Registry, discover
from apo_lightning.stages import STAGES
from apo_lightning.teachers import TEACHERS
from callbacks import CALLBACKS
from data_modules import DATA


def test_register_returns_the_class_and_lookup_finds_it() -> None:
    registry = Registry("loss")

    @registry.register("plain")
    class Plain:
        pass

    assert registry.lookup("plain") is Plain


def test_miss_names_the_nearest_and_all() -> None:
    registry = Registry("loss")
    registry.register("beta")(type("A", (), {}))
    registry.register("gamma")(type("B", (), {}))
    with pytest.raises(ConfigError) as caught:
        registry.lookup("bata")
    assert str(caught.value) == "No loss is named 'bata'. Did you mean 'beta'? Known: beta, gamma."


def test_a_name_is_taken_once() -> None:
    registry = Registry("loss")
    registry.register("one")(type("A", (), {}))
    with pytest.raises(ConfigError, match="Two loss classes are named 'one'"):
        registry.register("one")(type("B", (), {}))


def test_the_same_class_may_come_again() -> None:
    """A module that is loaded anew registers its classes anew."""
    registry = Registry("loss")
    first, second = type("A", (), {}), type("A", (), {})
    registry.register("one")(first)
    registry.register("one")(second)
    assert registry["one"] is second


def test_a_new_file_is_discovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "found_losses"
    folder.mkdir()
    (folder / "__init__.py").write_text("from apo_lightning.registry import Registry\nLOSSES = Registry('loss')\n")
    (folder / "mine.py").write_text("from found_losses import LOSSES\n@LOSSES.register('mine')\nclass Mine: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("found_losses")
    discover(package)
    assert list(package.LOSSES) == ["mine"]
    for name in ("found_losses", "found_losses.mine"):
        sys.modules.pop(name)


HOMES = {
    "apo_lightning/losses": LOSSES,
    "apo_lightning/stages": STAGES,
    "apo_lightning/teachers": TEACHERS,
    "apo_lightning/positives": POSITIVES,
    "apo_lightning/metrics/report_text": TEXT_METRICS,
    "callbacks": CALLBACKS,
    "data_modules": DATA,
}


@pytest.mark.parametrize("home", HOMES)
def test_what_the_files_of_a_folder_register_is_what_can_be_named(home: str) -> None:
    """No file is passed over, and nothing is registered from elsewhere in the library."""
    written = set()
    for path in (ROOT / home).glob("*.py"):
        classes = (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef))
        calls = (call for kind in classes for call in kind.decorator_list if isinstance(call, ast.Call))
        written |= {call.args[0].value for call in calls if getattr(call.func, "attr", "") == "register"}
    ours = ("apo_lightning", "callbacks", "data_modules")  # callbacks names classes of Lightning too
    assert written and written == {n for n, item in HOMES[home].items() if item.__module__.split(".")[0] in ours}
