"""Two runs on one store or in one run folder, as processes: a stage is made once, and goes on where it was left."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.run_folder import RunFolder

MAKER = """
import sys, time
from pathlib import Path
from apo_lightning.experiment.stage_folder import StageFolder

folder = StageFolder(Path(sys.argv[1]), "spd", {"lr": 1.0})
with folder.turn("spd", lambda text: print(text, flush=True)) as done:
    if done:
        print("in the store", flush=True)
        sys.exit()
    folder.begin()
    metrics = folder.path / "metrics.jsonl"
    first = len(metrics.read_text().splitlines()) if metrics.exists() else 0
    print(f"from step {first}", flush=True)
    for step in range(first, 5):
        with metrics.open("a") as out:
            out.write(f"{step}\\\\n")
        if step == int(sys.argv[2]):
            time.sleep(60)
    folder.finish()
"""
RUNNER = """
import sys
from pathlib import Path
from apo_lightning.experiment.run_folder import RunFolder

with RunFolder(Path(sys.argv[1]), "x").claim({"name": "x", "lr": 1}, "{name: x, lr: 1}", print):
    print("claimed", flush=True)
    sys.stdin.readline()
"""
OTHER = {"name": "x", "lr": 2}


def start(script: str, folder: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-c", script.replace("\\\\", "\\"), str(folder), *words]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def lines(process: subprocess.Popen) -> list[str]:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.splitlines()


def metrics(store: Path) -> list[str]:
    return [line for path in store.glob("spd-*/metrics.jsonl") for line in path.read_text().splitlines()]


def test_of_two_one_makes_the_stage_and_the_other_uses_it(tmp_path: Path) -> None:
    said = [lines(process) for process in [start(MAKER, tmp_path, "-1") for _ in range(2)]]
    assert sorted(each[-1] for each in said) == ["from step 0", "in the store"]
    assert metrics(tmp_path) == ["0", "1", "2", "3", "4"]


def test_a_stage_whose_maker_was_killed_is_gone_on_with_by_the_one_that_waits(tmp_path: Path) -> None:
    owner = start(MAKER, tmp_path, "2")
    assert owner.stdout.readline() == "from step 0\n"
    while len(metrics(tmp_path)) < 3:
        time.sleep(0.02)
    other = start(MAKER, tmp_path, "-1")
    assert f"spd: waiting for process {owner.pid} on " in other.stdout.readline()
    owner.kill()
    owner.communicate()
    taken, began = lines(other)
    assert f"spd: taken over from process {owner.pid} on " in taken
    assert began == "from step 3"
    assert metrics(tmp_path) == ["0", "1", "2", "3", "4"]


def test_a_folder_in_which_another_configuration_runs_is_refused_until_it_ends(tmp_path: Path) -> None:
    """Though nothing is written there yet."""
    folder, running = RunFolder(tmp_path, "x"), start(RUNNER, tmp_path)
    assert running.stdout.readline() == "claimed\n"
    with pytest.raises(ArtifactError, match=rf"lr was 1, is 2.*in use by process {running.pid} on"):
        folder.require(OTHER)
    also = start(RUNNER, tmp_path)  # the same configuration is welcome: other seeds on another GPU
    assert also.stdout.readline() == "claimed\n"
    running.kill()
    running.communicate()
    with pytest.raises(ArtifactError, match=f"in use by process {also.pid} on"):
        folder.require(OTHER)
    also.communicate("\n")
    folder.require(OTHER)


def test_the_table_is_written_by_one_run_at_a_time(tmp_path: Path) -> None:
    script = RUNNER.replace("sys.stdin", "(Path(sys.argv[1]) / 'written').touch(); sys.stdin").replace(
        'claim({"name": "x", "lr": 1}, "{name: x, lr: 1}", print)', "alone(print)"
    )
    running = start(script, tmp_path)
    assert running.stdout.readline() == "claimed\n"
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        running.communicate("\n")

    with RunFolder(tmp_path, "x").alone(say):
        assert running.poll() == 0
    assert len(said) == 1 and f"waiting for process {running.pid}" in said[0]


def stopped(tmp_path: Path, *stages: str) -> RunFolder:
    """A run folder whose run ended after ``stages``."""
    folder = RunFolder(tmp_path, "x")
    with folder.claim({"name": "x", "lr": 1}, "{name: x, lr: 1}", print):
        for stage in stages:
            folder.link("arm", 0, folder.stage(stage, {}).begin().finish())
    return folder


@pytest.mark.parametrize("stages", [(), ("collect",)])
def test_a_claim_without_results_is_given_up(tmp_path: Path, stages: tuple[str, ...]) -> None:
    folder = stopped(tmp_path, *stages)
    with folder.claim(OTHER, "{name: x, lr: 2}", print):
        assert "lr: 2" in (folder.path / "config.yaml").read_text()


@pytest.mark.parametrize("stage", ["spd", "evaluate"])
def test_a_claim_with_results_is_not(tmp_path: Path, stage: str) -> None:
    folder = stopped(tmp_path, "collect", stage)
    with pytest.raises(ArtifactError, match=r"lr was 1, is 2.*name=x_2"):
        folder.require(OTHER)
    with pytest.raises(ArtifactError, match="lr was 1, is 2"), folder.claim(OTHER, "", print):
        pass
    assert "lr: 1" in (folder.path / "config.yaml").read_text()


def test_more_seeds_are_welcome(tmp_path: Path) -> None:
    stopped(tmp_path, "spd").require({"name": "x", "lr": 1, "seeds": [0, 1]})


def test_a_run_that_ended_leaves_no_trace_of_running(tmp_path: Path) -> None:
    assert [path.name for path in stopped(tmp_path).path.iterdir()] == ["config.yaml"]
