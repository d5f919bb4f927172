"""The commit in a manifest is that of this library's code, whatever repository somebody has it in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from apo_lightning.experiment import stage_folder


def repository(folder: Path) -> str:
    """A repository with one commit; returns its short name."""
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the library is looked for."""
    place = tmp_path / "theirs" / ".venv" / "site-packages"
    place.mkdir(parents=True)
    monkeypatch.setattr(stage_folder, "CODE", place)
    stage_folder.provenance.cache_clear()
    yield place
    stage_folder.provenance.cache_clear()


def test_an_installed_library_has_no_commit_of_the_repository_around_it(installed: Path) -> None:
    repository(installed.parents[1])
    assert stage_folder.provenance()["commit"] == "unknown"


def test_a_checkout_has_its_own(installed: Path) -> None:
    name = repository(installed)
    assert stage_folder.provenance()["commit"] == name


def test_the_environment_cannot_name_another(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = repository(installed)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert stage_folder.provenance()["commit"] == name


def test_a_machine_without_git_runs(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(installed)
    monkeypatch.setenv("PATH", "/nowhere")
    assert stage_folder.provenance()["commit"] == "unknown"
