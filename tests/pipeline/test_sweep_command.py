"""The command line of a W&B trial, word for word as `wandb agent` fills it in, in a process of its own and offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from apo_lightning.cli.commands import main
from apo_lightning.experiment.sweeps import file, proposals, run
from apo_lightning.experiment.sweeps.file import read
from tests.helpers import offline_wandb
from tests.pipeline.conftest import ROOT

BETA = ROOT / "experiments/sweeps/beta.yaml"


def filled_in(path: Path, parameters: dict) -> list[str]:
    """As W&B's agent does: ``${env}`` is ``/usr/bin/env``, ``${args_no_hyphens}`` one ``key=value`` a parameter."""
    words = {"${env}": ["/usr/bin/env"], "${args_no_hyphens}": [f"{key}={value}" for key, value in parameters.items()]}
    command = yaml.safe_load(path.read_text())["command"]
    return [word for given in command for word in words.get(given, [given])]


@pytest.fixture
def small(words: list[str], tmp_path: Path) -> Path:
    """beta.yaml over ``smoke``, made small: further words of its command, before the trial's own."""
    spec = yaml.safe_load(BETA.read_text())
    place = spec["command"].index("experiments/ablation_apo.yaml")
    spec["command"][place] = str(ROOT / "experiments/smoke.yaml")
    spec["command"][place + 1 : place + 1] = [*words, f"runs_dir={tmp_path}", "evaluate.likelihood.form=off"]
    (tmp_path / "beta.yaml").write_text(yaml.safe_dump(spec))
    return tmp_path / "beta.yaml"


def test_a_trial_of_wandb_logs_config_curves_and_table(small: Path, tmp_path: Path) -> None:
    plan = file.read(small)
    parameters = proposals.values(plan, proposals.known_before(plan)[-1])
    agent = {"WANDB_SWEEP_ID": "abc", "WANDB_RUN_ID": "first", "WANDB_MODE": "offline"}
    agent["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        filled_in(small, parameters), cwd=ROOT, env=os.environ | agent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (own,) = offline_wandb.read_all(tmp_path)
    beta = parameters["stages.apo.loss.beta"]
    assert own.id == "first" and own.exit_code == 0
    assert own.config["stages"]["apo"]["loss"]["beta"] == beta == 3.0
    assert len(own.curve("apo_listwise/seed0/apo/train/loss")) == 6
    logged = own.logged()
    assert 0 <= logged["val/accuracy"] <= 1 and "tables/results" in logged
    assert logged["val/accuracy"] == logged["apo_listwise/val/accuracy"]


def test_a_trial_that_is_ended_early_leaves_its_stage_to_go_on(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """One that learns nothing is not among the better half after four of its six steps, and no stage is stored cut."""
    monkeypatch.chdir(ROOT)
    spec = yaml.safe_load(small.read_text())
    spec["parameters"] = {"stages.apo.optim.lr": {"values": [1e-2, 1e-12]}}
    spec["metric"] = {"name": "apo_listwise/seed0/apo/train/loss", "goal": "minimize"}
    spec["early_terminate"] = {"type": "hyperband", "min_iter": 4, "eta": 2}
    spec["command"].insert(-1, "wandb.mode=disabled")
    small.write_text(yaml.safe_dump(spec))
    frame = run.sweep(small)
    assert frame["ended"].tolist() == ["", 4] and frame["trained"].tolist()[1] == ""
    assert frame["value"][0] < frame["value"][1]
    capfd.readouterr()
    words = [*read(small).fixed, "stages.apo.optim.lr=1e-12", "name=again"]
    assert main(["run", str(ROOT / "experiments/smoke.yaml"), *words]) == 0
    said = capfd.readouterr()
    assert "continuing from step=" in said.out + said.err
    assert len((tmp_path / "again/apo_listwise/seed0/apo/metrics.jsonl").read_text().splitlines()) == 6
