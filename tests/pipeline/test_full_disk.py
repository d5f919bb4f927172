"""A whole run on a disk that is full: one sentence, and once there is room the same command ends with the numbers of a
run that never met it. The disk is a small one in memory, which only root may mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apo_lightning.cli import commands
from tests.pipeline.conftest import ROOT


def mount(place: Path, *options: str) -> bool:
    words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if not mount(place, "size=64m"):
        pytest.skip("nothing can be mounted here: that takes root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def command(words: list[str], runs: Path) -> list[str]:
    given = [*words, "only=[apo_listwise]", "wandb.mode=disabled", "stages.spd.steps=4", "stages.apo.steps=4"]
    return ["run", str(ROOT / "experiments/smoke.yaml"), *given, f"runs_dir={runs}", "student.adapter.dropout=0.2"]


def fill(place: Path, left: int) -> Path:
    """Leave so many bytes free."""
    ballast = place / "ballast"
    state = os.statvfs(place)
    with ballast.open("wb") as file:
        file.write(bytes(state.f_bavail * state.f_frsize - left))
    return ballast


@pytest.fixture(scope="module")
def calm(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("calm") / "runs"
    assert commands.main(command(words, runs)) == 0
    return runs


def used(runs: Path) -> int:
    return sum(path.stat().st_size for path in runs.rglob("*") if path.is_file())


def stops(words: list[str], runs: Path, capsys: pytest.CaptureFixture) -> str:
    """What the command says on the full disk."""
    assert commands.main(command(words, runs)) == 2
    said = " ".join(capsys.readouterr().err.split())
    for piece in ("could not be written", "No space left on device", "Make room", "the same command again"):
        assert piece in said
    assert "Traceback" not in said
    assert not [path for path in runs.rglob(".*.tmp") if path.exists()]
    return said


def equal(calm: Path, runs: Path) -> None:
    for file in ("results.csv", "apo_listwise/seed0/apo/metrics.jsonl", "apo_listwise/seed0/evaluate/scores.json"):
        assert (calm / "smoke" / file).read_bytes() == (runs / "smoke" / file).read_bytes(), file


def test_a_run_goes_on_once_there_is_room(
    calm: Path, words: list[str], disk: Path, capsys: pytest.CaptureFixture
) -> None:
    """Full in the first checkpoint of SPD, which is larger than all that comes before."""
    runs = disk / "runs"
    ballast = fill(disk, 400_000)
    said = stops(words, runs, capsys)
    assert "/spd-" in said and "are free there" in said
    ballast.unlink()
    assert commands.main(command(words, runs)) == 0
    equal(calm, runs)


@pytest.mark.slow
def test_wherever_it_is_full(calm: Path, words: list[str], disk: Path, capsys: pytest.CaptureFixture) -> None:
    """A little more room each time, in one run that stops again and again."""
    runs, stopped, room = disk / "runs", [], 50_000
    while room < 40_000_000:
        ballast = fill(disk, room)
        if commands.main(command(words, runs)) == 0:
            break
        stopped.append(" ".join(capsys.readouterr().err.split()))
        assert "could not be written" in stopped[-1] and "No space left" in stopped[-1]
        assert not list(runs.rglob(".*.tmp"))
        ballast.unlink()
        room = int(room * 1.6)
    assert len(stopped) >= 3
    equal(calm, runs)
