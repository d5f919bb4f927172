"""Wheel and sdist hold all that a run needs: one works from an empty folder, where nothing of a checkout is near."""

from __future__ import annotations

import csv
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from tests.helpers import installed

EXPERIMENTS = {str(path.relative_to(ROOT / "experiments")) for path in (ROOT / "experiments").rglob("*.yaml")}
SMALL = (
    "only=[spd_mt]",
    "data.train=4",
    "data.val=2",
    "data.test=2",
    "stages.spd.steps=1",
    "evaluate.max_new_tokens=4",
    "evaluate.likelihood.form=off",
    "evaluate.likelihood.in_place=0",
    "evaluate.likelihood_studies=0",
)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    return installed.built("sdist", installed.copied(folder / "source"), folder)


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the sdist, so that it shows that the sdist is whole."""
    folder = tmp_path_factory.mktemp("wheel")
    return installed.built("wheel", installed.unpacked(sdist, folder / "source"), folder)


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed.installed(wheel, tmp_path_factory.mktemp("installed"))


def below(names: list[str], folder: str) -> set[str]:
    return {name.partition(folder)[2] for name in names if folder in name and not name.endswith("/")}


def test_every_experiment_is_in_both(sdist: Path, wheel: Path) -> None:
    assert len(EXPERIMENTS) > 50
    with tarfile.open(sdist) as held:
        assert below(held.getnames(), "/experiments/") >= EXPERIMENTS
    with zipfile.ZipFile(wheel) as held:
        assert below(held.namelist(), "apo_lightning/_experiments/") == EXPERIMENTS


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    """Weights, prompts, templates, what ``apo init`` copies: whatever lies there is needed."""
    packages = ("apo_lightning", "data_modules", "callbacks")
    ours = {str(p.relative_to(ROOT)) for package in packages for p in (ROOT / package).rglob("*") if p.is_file()}
    with zipfile.ZipFile(wheel) as held:
        assert {name for name in ours if "__pycache__" not in name} - set(held.namelist()) == set()


def test_it_is_imported_from_where_it_was_installed(site: Path) -> None:
    code = "import apo_lightning, callbacks, data_modules as d; print(apo_lightning.__file__, d.__file__)"
    assert installed.python(site, "-c", code).split() == [
        str(site / name / "__init__.py") for name in ("apo_lightning", "data_modules")
    ]


def test_a_run_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    installed.python(site, "-m", "apo_lightning", "run", "smoke", *SMALL)
    with Path("runs/smoke/results.csv").open() as held:
        assert "spd_mt" in {row["arm"] for row in csv.DictReader(held)}
    assert Path("runs/smoke/report.html").is_file()
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", "wandb"}


def test_all_that_is_shipped_can_be_named_there(site: Path) -> None:
    code = (
        "from apo_lightning import config\n"
        "print(*(name for name, _ in config.list_experiments()))\n"
        "print(config.find('worlds/accurate'), config.find('beta', config.EXPERIMENTS / 'sweeps'))\n"
        "print(config.load(config.find('worlds/accurate'), ['preset=debug']).name)"
    )
    names, found, loaded = installed.python(site, "-c", code).splitlines()
    assert set(names.split()) == {Path(name).stem for name in EXPERIMENTS if "/" not in name}
    shipped = site / "apo_lightning/_experiments"
    assert found.split() == [str(shipped / "worlds/accurate.yaml"), str(shipped / "sweeps/beta.yaml")]
    assert loaded == "world_accurate_debug"
