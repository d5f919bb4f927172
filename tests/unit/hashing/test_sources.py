"""What an edit of each kind of file makes anew, and what is read of a file."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from apo_lightning.experiment.steps.evaluate import Evaluate
from apo_lightning.hashing import sources
from apo_lightning.hashing.sources import LIBRARY, SILENT, sources_of
from apo_lightning.positives import POSITIVES
from tests.helpers.stage_keys import ROOT, begin_anew

ALL = {"collect", "spd", "self_distill", "apo", "evaluate"}
WRITTEN = ALL - {"collect"}
CODE = "\nEDITED = True\n"
EDITED = {
    "apo_lightning/losses/apo_listwise.py": {"apo", "evaluate"},
    "apo_lightning/losses/apo_pairwise.py": set(),
    "apo_lightning/losses/base.py": WRITTEN,
    "apo_lightning/losses/preference.py": {"apo", "evaluate"},
    "apo_lightning/functional/preference.py": {"apo", "evaluate"},
    "apo_lightning/functional/__init__.py": WRITTEN,
    "apo_lightning/scoring/prefix.py": WRITTEN,
    "apo_lightning/stages/base.py": WRITTEN,
    "apo_lightning/stages/staying.py": WRITTEN,
    "apo_lightning/stages/apo.py": {"apo", "evaluate"},
    "apo_lightning/stages/generate.py": {"self_distill", "apo", "evaluate"},
    "apo_lightning/models/student.py": WRITTEN,
    "apo_lightning/batching/collate.py": WRITTEN,
    "apo_lightning/experiment/trainer.py": WRITTEN,
    "apo_lightning/experiment/context.py": WRITTEN,
    "apo_lightning/experiment/steps/base.py": ALL,
    "apo_lightning/experiment/steps/collect.py": ALL,
    "apo_lightning/experiment/steps/fit.py": WRITTEN,
    "apo_lightning/experiment/steps/generate.py": {"self_distill", "apo", "evaluate"},
    "apo_lightning/experiment/steps/evaluate.py": {"evaluate"},
    "apo_lightning/experiment/answer_files.py": {"evaluate"},
    "apo_lightning/experiment/scored.py": WRITTEN,
    "apo_lightning/metrics/answers.py": set(),
    "apo_lightning/experiment/checkpoints.py": WRITTEN,
    "apo_lightning/positives/student.py": {"self_distill", "apo", "evaluate"},
    "apo_lightning/positives/majority.py": set(),
    "apo_lightning/teachers/simulated.py": ALL,
    "apo_lightning/teachers/base.py": ALL,
    "apo_lightning/teachers/pool.py": ALL,
    "apo_lightning/phantom/wording.py": ALL,
    "apo_lightning/trajectories/records.py": ALL,
    "apo_lightning/files/jsonlines.py": ALL,
    "apo_lightning/teachers/recorded.py": ALL,
    "apo_lightning/experiment/stage_files.py": WRITTEN,
    "apo_lightning/experiment/caching.py": set(),
    "apo_lightning/experiment/cache_keys.py": set(),
    "apo_lightning/metrics/teachers.py": set(),
    "data_modules/phantom.py": ALL,
    "data_modules/base.py": ALL,
    "data_modules/images/transforms.py": ALL,
    "data_modules/chexpert.py": set(),
    "apo_lightning/phantom/drawing.py": ALL,
    "apo_lightning/text/labeler.py": WRITTEN,
    "apo_lightning/text/mentions.py": WRITTEN,
    "apo_lightning/prompts/describe.txt": WRITTEN,
    "apo_lightning/prompts/reconcile.txt": {"self_distill", "apo", "evaluate"},
    "apo_lightning/prompts/diagnose.txt": set(),
    "apo_lightning/assets/nano/chat_template.jinja": WRITTEN,
    "apo_lightning/assets/nano/generation_config.json": WRITTEN,
    "apo_lightning/probes/wordings.py": {"evaluate"},
    "apo_lightning/probes/statements.py": {"evaluate"},
    "apo_lightning/metrics/scored.py": set(),
    "apo_lightning/metrics/findings.py": set(),
    "apo_lightning/metrics/outcomes.py": set(),
    "apo_lightning/metrics/bootstrap.py": set(),
    "apo_lightning/reports/render.py": set(),
    "apo_lightning/reports/templates/report.html.j2": set(),
    "apo_lightning/errors.py": set(),
    "apo_lightning/signals.py": set(),
    "apo_lightning/cli/commands.py": set(),
    "apo_lightning/experiment/results.py": set(),
    "callbacks/throughput.py": set(),
    "callbacks/frozen_guard.py": set(),
    "data_modules/summary.py": set(),
}
"""File to the stages whose result it is part of."""
WORDS = {
    "a comment": "\n# a comment\n",
    "a string": '\n"""Words."""\n',
    "lines": "\n\n\n",
    "for a checker": "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import decimal\n",
}
COMMENTED = "apo_lightning/losses/base.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What a copy of the packages says of all edits; one process, since it takes seconds to begin."""
    copy = tmp_path_factory.mktemp("copy")
    for package in LIBRARY:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    wanted = {file: "\n" if file.endswith((".json", ".safetensors")) else CODE for file in EDITED}
    wanted |= {f"{COMMENTED}:{what}": text for what, text in WORDS.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.edited_copy", str(copy)],
        input=json.dumps(wanted),
        text=True,
        capture_output=True,
        cwd=copy,
        env={**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{ROOT}"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("file", EDITED)
def test_an_edited_file_makes_anew_what_it_is_part_of(found: dict[str, list[str]], file: str) -> None:
    assert set(found[file]) == EDITED[file]


@pytest.mark.parametrize("what", ["a comment", "a string", "lines"])
def test_words_about_the_source_train_nothing_again(found: dict[str, list[str]], what: str) -> None:
    assert found[f"{COMMENTED}:{what}"] == []


def test_a_strategy_that_goes_by_a_metric_depends_on_it() -> None:
    by_metric, by_student = POSITIVES["best_teacher"], POSITIVES["student"]
    assert "metrics/teachers.py" in sources_of(by_metric)
    assert not any(name.startswith("metrics/") for name in sources_of(by_student, Evaluate))


def test_silent_rooms_and_files_are_there() -> None:
    """A name that is none would be silent by mistake once somebody takes it."""
    assert [name for name in SILENT if importlib.util.find_spec(f"apo_lightning.{name}") is None] == []


def said(text: str) -> str:
    return sources._meaning(text.encode(), "mylab")[0]


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x = 1", "x = 1  # one", True),
        ("x = 1", "x=(1)", True),
        ("def f():\n    'Words.'\n    return 1", "def f():\n    return 1", True),
        ("if TYPE_CHECKING:\n    x = 1", "if TYPE_CHECKING:\n    x = 2", True),
        ("if typing.TYPE_CHECKING:\n    import a", "", True),
        (
            "if TYPE_CHECKING:\n    import a\nelse:\n    x = 1",
            "if TYPE_CHECKING:\n    import a\nelse:\n    x = 2",
            False,
        ),
        ("if not TYPE_CHECKING:\n    x = 1", "if not TYPE_CHECKING:\n    x = 2", False),
        ("x = 1", "x = 1.0", False),
        ("x = True", "x = 1", False),
        ("x = None", "x = ''", False),
        ("f(())", "f([])", False),
        ("f('words')", "f('other words')", False),
        ("x = -1", "x = +1", False),
        ("def (:", "def (: #", False),
    ],
)
def test_what_counts_of_a_file(before: str, after: str, same: bool) -> None:
    assert (said(before) == said(after)) == same


def test_a_hash_does_not_know_the_version_of_python() -> None:
    """Newer ones have fields that are empty in older code (``type_params`` from 3.12 on)."""
    assert said("def f(x: int = 1, *a) -> str:\n    return f'{x!r:>{a}}'") == (
        "b402c438f013e65841d06aed199cfe4399b1df5002792152bca0efc45ef600c0"
    )


@pytest.mark.parametrize(
    ("code", "imported"),
    [
        ("import a.b as c, d", ["a.b", "d"]),
        ("def f():\n    from a import b", ["a", "a.b"]),
        ("from . import deep", ["mylab", "mylab.deep"]),
        ("from .deep import SAID", ["mylab.deep", "mylab.deep.SAID"]),
        ("import importlib\nx = importlib.import_module('a.b')", ["importlib", "a.b"]),
        ("x = import_module('.deep', __package__)", ["mylab.deep"]),
        ("__import__('a')", ["a"]),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", ["b"]),
        ("try:\n    import a\nexcept ImportError:\n    import b", ["a", "b"]),
        ("from .... import far", []),
    ],
)
def test_what_a_file_imports(code: str, imported: list[str]) -> None:
    assert list(sources._meaning(code.encode(), "mylab")[1]) == imported


FILES = {
    "base.py": "class Base:\n    pass\n",
    "deep.py": "SAID = 'No edema.'\n",
    "lazy.py": "WORD = 'effusion'\n",
    "teacher.py": "import torch\nfrom {0}.base import Base\nfrom {0} import deep\n\nclass Mine(Base):\n"
    "    def say(self):\n        from {0} import lazy\n        return lazy.WORD\n",
    "unused.py": "",
}


def package(folder: Path, name: str, *, whole: bool = True) -> Path:
    place = folder.joinpath(*name.split("."))
    place.mkdir(parents=True)
    for file, text in FILES.items():
        (place / file).write_text(text.replace("{0}", name))
    if whole:
        (place / "__init__.py").write_text("LEVEL = 1\n")
    return place


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder from which modules are imported."""
    monkeypatch.syspath_prepend(tmp_path)
    begin_anew(elsewhere=True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    begin_anew(elsewhere=True)


def test_a_class_of_ones_own_is_its_modules_and_their_package(path: Path) -> None:
    package(path, "mylab")
    kind = importlib.import_module("mylab.teacher").Mine
    assert list(sources_of(kind)) == [
        "./mylab/__init__.py",
        "./mylab/base.py",
        "./mylab/deep.py",
        "./mylab/lazy.py",
        "./mylab/teacher.py",
    ]


def test_a_folder_without_an_init_is_followed_too(path: Path) -> None:
    package(path, "loose", whole=False)
    kind = importlib.import_module("loose.teacher").Mine
    assert set(sources_of(kind)) == {f"./loose/{name}.py" for name in ("base", "deep", "lazy", "teacher")}


def test_a_module_with_the_name_of_a_room_hides_none_of_ours(path: Path) -> None:
    (path / "types.py").write_text("")  # the library's own is never asked for
    (path / "models.py").write_text("from apo_lightning import models\nclass Mine:\n    pass\n")
    found = sources_of(importlib.import_module("models").Mine)
    assert {"./models.py", "models/__init__.py"} <= set(found)


def test_installed_packages_count_by_their_version(path: Path) -> None:
    place = path / "site-packages"
    package(place, "theirs")
    sys.path.insert(0, str(place))
    try:
        assert sources_of(importlib.import_module("theirs.teacher").Mine) == {}
        (path / "own.py").write_text("import theirs.deep, torch, json\nclass Own:\n    pass\n")
        assert list(sources_of(importlib.import_module("own").Own)) == ["./own.py"]
    finally:
        sys.path.remove(str(place))


def test_a_process_computes_with_what_it_has_loaded(path: Path) -> None:
    """An edit counts once the module is loaded again, whether or not anything was asked before it."""
    place = package(path, "mylab")
    teacher = importlib.import_module("mylab.teacher")
    sources.remember()
    (place / "deep.py").write_text("SAID = 'Edema, which is more.'\n")
    at_first = sources_of(teacher.Mine)
    assert sources.now("./mylab/deep.py") != at_first["./mylab/deep.py"]
    assert sources.now("./mylab/base.py") == at_first["./mylab/base.py"]
    importlib.reload(sys.modules["mylab.deep"])
    assert sources.changed(at_first, sources_of(teacher.Mine)) == ["./mylab/deep.py"]


def test_a_module_that_is_not_loaded_yet_is_what_the_disk_says(path: Path) -> None:
    place = package(path, "mylab")
    kind = importlib.import_module("mylab.teacher").Mine
    before = sources_of(kind)
    (place / "lazy.py").write_text("WORD = 'pneumothorax'\n")
    assert sources.changed(before, sources_of(kind)) == ["./mylab/lazy.py"]


def test_files_on_the_disk_by_their_names() -> None:
    known = sources_of(importlib.import_module("data_modules.phantom"))
    assert {name: sources.now(name) for name in known} == known
    assert sources.now("functional/gone.py") is None and sources.now("./nobody/x.py") is None


def test_source_that_cannot_be_parsed_or_found_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("def (:")
    odd, gone = ModuleType("odd"), ModuleType("gone")
    odd.__file__, gone.__file__ = str(tmp_path / "odd.py"), str(tmp_path / "gone.zip" / "gone.py")
    assert list(sources_of(odd, gone, type("Made", (), {"__module__": "nowhere"}))) == ["./gone.py", "./odd.py"]


def test_a_stage_costs_milliseconds_after_the_first() -> None:
    from apo_lightning import probes
    from apo_lightning.experiment import trainer

    sources_of(probes, trainer)
    began = time.perf_counter()
    sources_of(probes, trainer)
    assert time.perf_counter() - began < 0.05
