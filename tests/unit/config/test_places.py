"""Where experiments are looked for: the working folder's first, then those of the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from apo_lightning import config
from apo_lightning.config import places
from apo_lightning.errors import ConfigError

SHIPPED = ROOT / "experiments"
ONE_TEACHER = "teachers: {only: {kind: simulated, sensitivity: {default: 0.8}, specificity: {default: 0.8}}}\n"


def written(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_an_installed_package_has_them_inside_and_a_checkout_beside(tmp_path: Path) -> None:
    package = tmp_path / "site/apo_lightning"
    package.mkdir(parents=True)
    assert places.shipped(package) == tmp_path / "site/experiments"
    (package / "_experiments").mkdir()
    assert places.shipped(package) == package / "_experiments"


def test_the_working_folder_comes_first() -> None:
    assert config.find("smoke") == SHIPPED / "smoke.yaml"
    own = written("experiments/smoke.yaml", "name: mine\n")
    assert config.find("smoke") == own


@pytest.mark.parametrize("name", ["smoke", "smoke.yaml", "experiments/smoke.yaml"])
def test_names_and_the_paths_of_a_checkout(name: str) -> None:
    assert config.find(name) == SHIPPED / "smoke.yaml"


def test_a_path_of_a_folder_below_is_not_taken_for_another() -> None:
    assert config.find("experiments/worlds/accurate.yaml") == SHIPPED / "worlds/accurate.yaml"
    with pytest.raises(ConfigError, match=r"There is no experiment 'experiments/worlds/smoke\.yaml'"):
        config.find("experiments/worlds/smoke.yaml")


def test_in_the_checkout_both_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert places.places() == [Path("experiments")]
    with pytest.raises(ConfigError, match=r"There is no experiment 'smok' in experiments/\. Did you mean 'smoke'\?"):
        config.find("smok")


def test_a_list_names_both_once() -> None:
    written("experiments/smoke.yaml", "# My own\nname: mine\n")
    written("experiments/zzz.yaml", "# Another\nname: z\n")
    listed = dict(config.list_experiments())
    assert listed["smoke"] == "My own" and listed["zzz"] == "Another" and "ablation_apo" in listed


def test_extends_looks_beside_then_here_then_in_the_package() -> None:
    own = written("experiments/own.yaml", "extends: [smoke.yaml]\nname: own\n")
    assert config.load(own).data["train"] == 32
    written("experiments/base/teachers_drifting.yaml", ONE_TEACHER)
    written("experiments/part.yaml", "extends: [base/nano.yaml, base/stages_nano.yaml, base/teachers_drifting.yaml]\n")
    own.write_text("extends: [part.yaml]\nname: own\ndata: {name: phantom}\narms: {base: {label: b, stages: []}}\n")
    assert list(config.load(own).teachers) == ["only"]
    assert len(config.load(config.find("smoke")).teachers) == 7  # one of the package means the same everywhere


def test_what_is_nowhere_is_said_with_all_places(tmp_path: Path) -> None:
    own = written("experiments/own.yaml", "extends: [nope]\nname: own\n")
    with pytest.raises(ConfigError) as caught:
        config.load(own)
    assert str(caught.value).endswith(f"or in {tmp_path}/experiments or {SHIPPED}.")
