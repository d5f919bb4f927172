"""``apo init``: the project that it makes is valid, runs, and is refused where something lies already."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from apo_lightning.cli.commands import main
from tests.helpers import installed

SMALL = (
    "only=[hinge]",
    "stages.spd.steps=1",
    "stages.apo.steps=1",
    "stages.self_distill.max_new_tokens=4",
    "evaluate.max_new_tokens=4",
    "data.data_fraction=0.2",
    "evaluate.likelihood.form=off",
    "evaluate.likelihood.in_place=0",
    "evaluate.likelihood_studies=0",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init") / "demo"
    assert main(["init", str(folder)]) == 0
    return folder


def test_what_it_holds(made: Path) -> None:
    files = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file() and path.suffix != ".png"}
    assert files == {
        ".gitignore", "Makefile", "README.md", "apo.yaml", "data/xrays/labels.csv", "experiments/first.yaml",
        "losses/hinge.py", "tests/test_hinge.py",
    }  # fmt: skip
    assert not [name for name in files if "{{" in (made / name).read_text()]


def test_every_row_of_its_table_has_an_image_and_no_patient_is_in_two_splits(made: Path) -> None:
    with (made / "data/xrays/labels.csv").open() as held:
        rows = list(csv.DictReader(held))
    assert len(rows) == len(list((made / "data/xrays/images").iterdir())) == 80
    assert {Image.open(made / "data/xrays" / row["image"]).size for row in rows} == {(112, 112)}
    assert len({(row["patient"], row["split"]) for row in rows}) == len({row["patient"] for row in rows})
    assert {row["edema"] for row in rows} == {"0", "1"}


def test_its_readme_names_targets_and_files_that_are_there(made: Path) -> None:
    text = (made / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (made / "Makefile").read_text(), re.M))
    assert targets == {"help", "setup", "run", "test"}
    assert {word for word in re.findall(r"^make (\w+)", text, re.M)} <= targets
    assert not [name for name in re.findall(r"^\| `([\w/.]+)`", text, re.M) if not (made / name).exists()]


def test_it_is_checked_and_its_tests_pass(made: Path) -> None:
    said = installed.python(ROOT, "-m", "apo_lightning", "check", cwd=made)
    assert "ok     experiments/first.yaml: experiment with 4 arms" in said
    installed.python(ROOT, "-m", "unittest", "discover", "-s", "tests", cwd=made)


def test_it_runs_with_its_own_loss_and_data(made: Path) -> None:
    installed.python(ROOT, "-m", "apo_lightning", "run", "first", *SMALL, cwd=made)
    with (made / "runs/first/results.csv").open() as held:
        assert "hinge" in {row["arm"] for row in csv.DictReader(held)}
    assert "losses/hinge.py" in (made / "runs/first/hinge/seed0/apo/manifest.json").read_text()


def test_make_takes_the_environment_of_the_project_before_the_active_one(made: Path) -> None:
    def asked() -> str:
        words = ["make", "--no-print-directory", "-n", "run"]  # it would name the folder where a make runs the tests
        return subprocess.run(words, cwd=made, capture_output=True, text=True, check=True).stdout

    assert asked().strip() == "apo run 'first' --set \"\""
    (made / ".venv/bin").mkdir(parents=True)
    (made / ".venv/bin/apo").touch()
    assert asked().strip() == ".venv/bin/apo run 'first' --set \"\""
    (made / ".venv/bin/apo").unlink()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").touch()
    assert main(["init", "mine"]) == 2
    assert "error: mine is not empty: it has thesis.txt. Name a new or an empty folder." in capsys.readouterr().err
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]
    assert main(["init", "mine/thesis.txt"]) == 2
    assert "is a file" in capsys.readouterr().err


def test_a_new_folder_with_git_and_an_environment_counts_as_empty() -> None:
    Path("mine/.git").mkdir(parents=True)
    Path("mine/.venv").mkdir()
    assert main(["init", "mine"]) == 0
