"""A whole experiment small enough for a test: a random student, a handful of studies, four steps a stage."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apo_lightning.registry import Registry, discover
from tests.helpers import tiny
from tests.helpers.adding_page import SHOWN, file_of

ROOT = Path(__file__).resolve().parents[2]
Drop = Callable[..., None]
SMALL = (
    "data.train=8",
    "data.val=4",
    "data.test=6",
    "stages.spd.steps=6",
    "stages.apo.steps=6",
    "stages.spd.batch_studies=2",
    "stages.apo.batch_studies=2",
    "stages.spd.checkpoint_every=2",
    "stages.apo.checkpoint_every=2",
    "evaluate.max_new_tokens=8",
    "evaluate.batch_studies=3",
    "stages.self_distill.max_new_tokens=8",
    "stages.self_distill.batch_studies=4",
)


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Command-line words that shrink ``smoke`` to a test."""
    student = tiny.folder(tmp_path_factory.mktemp("student") / "nano")
    return [f"student.model={student}", *SMALL]


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drop]:
    """Puts files of the page into a folder of their package each, and takes them out of the registries again."""
    modules: list[str] = []

    def put(*names: str) -> None:
        for file in map(file_of, names):
            package = importlib.import_module(".".join(file.parent.parts))
            folder = tmp_path / "mine" / file.parent
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file.name).write_text(SHOWN[file])
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
            modules.append(".".join(file.with_suffix("").parts))
            discover(package)

    yield put
    for name in modules:
        package = sys.modules[name.rpartition(".")[0]]
        vars(package).pop(name.rpartition(".")[2], None)
        for registry in [each for each in vars(package).values() if isinstance(each, Registry)]:
            for key in [key for key, kind in registry.items() if kind.__module__ == name]:
                del registry[key]
        sys.modules.pop(name, None)
