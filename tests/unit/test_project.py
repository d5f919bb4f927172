"""A working folder's own code: found where apo.yaml names it, and nowhere else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from apo_lightning import project, prompts
from apo_lightning.errors import ConfigError
from apo_lightning.hashing import sources
from apo_lightning.registry import Registry, discover

OWN = "from pack.losses import THINGS\n\n@THINGS.register('mine')\nclass Mine:\n    pass\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of the library's with one file, ``pack.losses.first``."""
    folder = tmp_path / "lib" / "pack" / "losses"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "first.py").touch()
    (folder / "__init__.py").write_text("from apo_lightning.registry import Registry\nTHINGS = Registry('thing')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    yield importlib.import_module("pack.losses")
    for name in [name for name in sys.modules if name.split(".")[0] == "pack"]:
        del sys.modules[name]


def own(text: str = OWN, name: str = "mine.py", told: str = "code: [losses]\n") -> Path:
    file = Path("losses", name)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    Path("apo.yaml").write_text(told)
    return file.absolute()


def things(package: ModuleType) -> Registry:
    return package.THINGS


def test_a_file_of_a_named_folder_is_a_module_of_the_package(package: ModuleType) -> None:
    own()
    for _ in range(2):
        discover(package)
    assert things(package)["mine"].__module__ == "pack.losses.mine"
    assert package.__path__[1:] == [str(Path("losses").absolute())]


@pytest.mark.parametrize("told", ["", "code: []\n", "code: [callbacks]\n", None])
def test_nothing_is_imported_that_is_not_named(package: ModuleType, told: str | None) -> None:
    own("raise SystemExit", told=told or "")
    Path("callbacks").mkdir()
    if told is None:
        Path("apo.yaml").unlink()
    discover(package)
    assert dict(things(package)) == {} and len(package.__path__) == 1


def test_a_folder_above_is_not_looked_at(package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    own("raise SystemExit")
    Path("below").mkdir()
    monkeypatch.chdir("below")
    discover(package)
    assert len(package.__path__) == 1


@pytest.mark.parametrize("what", [".", "apo.yaml", "losses", "losses/mine.py"])
def test_what_all_may_write_is_not_imported(package: ModuleType, what: str) -> None:
    own("raise SystemExit")
    Path(what).chmod(0o777)
    with pytest.raises(ConfigError, match=r"may be written by every user .* chmod o-w"):
        discover(package)


def test_a_file_with_the_name_of_one_of_ours_is_refused(package: ModuleType) -> None:
    own(name="first.py")
    with pytest.raises(
        ConfigError, match=r"^losses/first\.py has the name of .*pack/losses/first\.py\. Give it another"
    ):
        discover(package)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nx = (\n", r"mine\.py, line 2 cannot be imported: SyntaxError: '\(' was never closed"),
        ("x = 1\n\ny\n", r"mine\.py, line 3 cannot be imported: NameError: name 'y' is not defined"),
        (f"{OWN}\n{OWN.replace('Mine', 'Two')}", r"Two thing classes are named 'mine': .* \(/.*mine\.py\)"),
    ],
)
def test_what_cannot_be_imported_is_named_with_its_line(package: ModuleType, text: str, said: str) -> None:
    own(text)
    with pytest.raises(ConfigError, match=said):
        discover(package)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("code: [lossse]", r"apo\.yaml: code names 'lossse'\. Did you mean 'losses'\?"),
        ("code: losses", r"apo\.yaml: code must be a list of folders, got 'losses'\."),
        ("kode: [losses]", r"apo\.yaml must hold 'code: \[losses, \.\.\.\]' and nothing else, got \{'kode'"),
        ("code: [", r"apo\.yaml is not valid YAML"),
        ("code: !!python/object/apply:os.abort []", r"apo\.yaml is not valid YAML: could not determine a constructor"),
    ],
)
def test_apo_yaml_says_what_is_wrong_with_it(told: str, said: str) -> None:
    own(told=told)
    with pytest.raises(ConfigError, match=said):
        project.folder("losses")


def test_a_named_folder_has_to_be_there(tmp_path: Path) -> None:
    Path("apo.yaml").write_text("code: [losses]")
    with pytest.raises(ConfigError, match=rf"code names 'losses', and there is no folder {tmp_path}/losses"):
        project.folder("losses")


def test_a_prompt_of_the_project() -> None:
    Path("prompts").mkdir()
    Path("prompts/bedside.txt").write_text("What do you see?")
    assert "bedside" not in prompts.names()
    Path("apo.yaml").write_text("code: [prompts]")
    assert prompts.render("bedside") == "What do you see?"
    Path("prompts/describe.txt").write_text("Other words")
    with pytest.raises(ConfigError, match=r"prompts/describe\.txt has the name of "):
        prompts.names()


def test_an_edited_file_of_the_project_is_another_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of the library's: what it takes part in is made anew."""
    import apo_lightning.losses as losses

    monkeypatch.setattr(losses, "__path__", list(losses.__path__))
    own("import torch\n\nclass Odd:\n    x = 1\n", name="odd_one.py")
    discover(losses)
    try:
        before = sources.sources_of(sys.modules["apo_lightning.losses.odd_one"].Odd)
        Path("losses/odd_one.py").write_text("import torch\n\nclass Odd:\n    x = 2\n")
        assert sources.now("losses/odd_one.py") != before["losses/odd_one.py"]
    finally:
        del sys.modules["apo_lightning.losses.odd_one"], losses.odd_one
