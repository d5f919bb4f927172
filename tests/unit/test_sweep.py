"""The local sweep: the grid, what it refuses, and its table, with a run that only writes results."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from fakes import fake_registries, write_experiment

from apo_lightning import config
from apo_lightning.config.layers import read_words
from apo_lightning.errors import ApoError, ConfigError
from apo_lightning.experiment import objective, processes, sweep

COMMAND = [
    "${env}",
    "python",
    "-m",
    "apo_lightning",
    "run",
    "experiments/small.yaml",
    "only=[apo]",
    "${args_no_hyphens}",
]
ALL = [*COMMAND[:6], "seeds=[0, 3]", "evaluate.split=val", COMMAND[-1]]
ONE = [*ALL[:-1], "only=[apo]", COMMAND[-1]]
BETAS = {"stages.apo.loss.beta": {"values": [0.1, 1.0]}}


@pytest.fixture(autouse=True)
def _experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_registries(monkeypatch)
    write_experiment(tmp_path)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """A run module that writes accuracy = beta (0.4 and 0.6 around it for two seeds), and fails at beta 13."""
    calls = []

    def run(cfg):
        beta = cfg.stages.apo.loss["beta"]
        calls.append((cfg.name, beta))
        if beta == 13:
            raise RuntimeError("diverged")
        folder = Path(cfg.runs_dir) / cfg.name
        folder.mkdir(parents=True)
        rows = [
            ("apo", "APO", "arm", seed, metric, finding, value)
            for seed, value in ((0, beta - 0.1), (1, beta + 0.1))
            for metric in ("accuracy", "balanced_accuracy", "f1")
            for finding in ("mean", "edema")
        ]
        rows.append(("eager", "eager", "teacher", 0, "accuracy", "mean", 0.9))
        columns = ["arm", "label", "kind", "seed", "metric", "finding", "value"]
        pd.DataFrame(rows, columns=columns).to_csv(folder / "results.csv", index=False)

    fake = ModuleType("apo_lightning.experiment.run")
    fake.run = run
    monkeypatch.setitem(sys.modules, "apo_lightning.experiment.run", fake)
    monkeypatch.setattr("apo_lightning.experiment.run", fake, raising=False)
    return calls


def sweep_file(**changes) -> Path:
    spec = {"command": COMMAND, "method": "grid", "parameters": BETAS} | changes
    path = Path("experiments/sweeps/beta.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(spec))
    return path


class TestGrid:
    def test_the_last_parameter_changes_fastest(self) -> None:
        spec = {
            "method": "grid",
            "parameters": {"a": {"values": [1, 2]}, "b": {"values": ["x", "y"]}, "c": {"value": 0}},
        }
        grid = sweep.expand(spec, Path("f.yaml"))
        assert [tuple(point.values()) for point in grid] == [(1, "x", 0), (1, "y", 0), (2, "x", 0), (2, "y", 0)]

    def test_points_hold_checked_experiments_under_their_own_names(self) -> None:
        grid = sweep.points(sweep_file(), ["evaluate.max_new_tokens=5"])
        assert [point.cfg.name for point in grid] == ["small-beta/1", "small-beta/2"]
        assert [point.cfg.stages.apo.loss["beta"] for point in grid] == [0.1, 1.0]
        assert grid[0].cfg.only == ["apo"]
        assert grid[0].overrides == (
            "only=[apo]",
            "stages.apo.loss.beta=0.1",
            "evaluate.max_new_tokens=5",
            "name=small-beta/1",
        )

    def test_values_survive_the_command_line(self) -> None:
        values = ["1e3", "yes", "a: b", [1, "x"], None, True, 1e-05]
        words = [f"wandb.entity={sweep._word(value)}" for value in values]
        assert [word.value for word in read_words(words)] == values

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"method": "bayes"}, "method must be grid to run here, got 'bayes' (experiments/sweeps/beta.yaml). "),
            ({"parameters": {}}, "parameters must name at least one parameter, got {}"),
            ({"parameters": {"a.b": {"min": 0, "max": 1}}}, "parameters.a.b must have a list of values, got {'max'"),
            ({"parameters": {"a.b": {"values": []}}}, "parameters.a.b must have a list of values"),
            ({"command": ["python", "train.py"]}, "command must be a list of the form [..., run, EXPERIMENT"),
            ({"command": None}, "command must be a list of the form"),
            ({"command": [*COMMAND[:5], "nope", COMMAND[-1]]}, "There is no experiment 'nope'"),
        ],
    )
    def test_refused(self, change: dict, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            sweep.points(sweep_file(**change))
        assert str(caught.value).startswith(said)

    def test_every_wrong_point_is_told_and_nothing_runs(self, ran: list) -> None:
        path = sweep_file(parameters={"stages.apo.loss.beta": {"values": [1.0, -1.0, 0.0]}})
        with pytest.raises(ConfigError) as caught:
            sweep.sweep(path)
        assert str(caught.value).splitlines() == [
            f"Point {number} of experiments/sweeps/beta.yaml, stages.apo.loss.beta={beta}: "
            f"stages.apo.loss.beta must be > 0, got {beta} (command line)."
            for number, beta in ((2, -1.0), (3, 0.0))
        ]
        assert ran == []


class TestMetric:
    """Of one arm where several are run, and one that its runs log."""

    @pytest.mark.parametrize(
        ("command", "name"),
        [
            (ALL, "apo/val/accuracy"),
            (ALL, "sft/seed3/val/accuracy"),
            (ALL, "apo/seed0/apo/train/loss"),
            (ONE, "val/accuracy"),
            (ONE, "apo/val/f1"),
            (ONE, "apo/seed3/val/accuracy"),
        ],
    )
    def test_taken(self, command: list[str], name: str) -> None:
        assert len(sweep.points(sweep_file(command=command, metric={"name": name, "goal": "maximize"}))) == 2

    def test_one_arm_needs_none(self) -> None:
        assert len(sweep.points(sweep_file(command=ONE))) == 2

    @pytest.mark.parametrize(
        ("command", "metric", "said"),
        [
            (
                ALL,
                {"name": "val/accuracy"},
                "metric.name must begin with one of the 4 arms that are run, got "
                "'val/accuracy' (experiments/sweeps/beta.yaml). Write for instance name: base/val/accuracy. "
                "val/accuracy alone needs one arm: only=[base]. Known: apo, base, dpo, sft.",
            ),
            (
                ALL,
                {"name": "apoo/val/accuracy"},
                "metric.name must begin with one of the 4 arms that are run, got "
                "'apoo/val/accuracy' (experiments/sweeps/beta.yaml). Write for instance name: base/val/accuracy. "
                "val/accuracy alone needs one arm: only=[base]. Did you mean 'apo'? Known: apo, base, dpo, sft.",
            ),
            (ALL, None, "metric.name must begin with one of the 4 arms that are run, got nothing"),
            (ALL, {"name": "apo/seed1/val/accuracy"}, "metric.name must name a seed that is run (0, 3), got 'apo/s"),
            (ALL, {"name": "apo/test/accuracy"}, "metric.name must be measured on evaluate.split, which is val, got"),
            (ONE, {"name": "test/accuracy"}, "metric.name must be measured on evaluate.split, which is val, got 'te"),
            (ONE, "val/accuracy", "metric must be a mapping with name and goal, got 'val/accuracy' (experiments/sw"),
            (ONE, {"goal": "maximize"}, "metric must be a mapping with name and goal, got {'goal': 'maximize'}"),
        ],
    )
    def test_refused_once_before_anything_runs(self, ran: list, command: list, metric: object, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            sweep.sweep(sweep_file(command=command, metric=metric))
        assert str(caught.value).startswith(said) and "\n" not in str(caught.value) and ran == []

    def test_each_point_is_asked_for_its_own_arms(self) -> None:
        parameters = {"only": {"values": [["apo"], ["sft"], ["sft", "apo"]]}}
        with pytest.raises(ConfigError, match="one of the 2 arms"):
            sweep.points(sweep_file(command=ALL, parameters=parameters, metric={"name": "val/accuracy"}))
        one = {"only": {"values": [["apo"], ["sft"]]}}
        assert len(sweep.points(sweep_file(command=ALL, parameters=one, metric={"name": "val/accuracy"}))) == 2


class TestSweep:
    def test_table_is_the_mean_over_seeds_of_each_arm(self, ran: list) -> None:
        frame = sweep.sweep(sweep_file())
        assert ran == [("small-beta/1", 0.1), ("small-beta/2", 1.0)]
        assert frame["accuracy"].tolist() == pytest.approx([0.1, 1.0])
        assert frame["balanced_accuracy"].tolist() == pytest.approx([0.1, 1.0])
        assert frame["arm"].tolist() == ["apo", "apo"]
        written = pd.read_csv("runs/sweeps/beta/sweep.csv")
        assert written["stages.apo.loss.beta"].tolist() == [0.1, 1.0]
        assert Path("runs/sweeps/beta/curve.png").read_bytes().startswith(b"\x89PNG")

    def test_a_failed_point_does_not_stop_the_others(self, ran: list, capsys: pytest.CaptureFixture) -> None:
        with pytest.raises(ApoError, match=r"1 of 3 points failed: 2\."):
            sweep.sweep(sweep_file(parameters={"stages.apo.loss.beta": {"values": [0.1, 13.0, 0.3]}}))
        assert [beta for _, beta in ran] == [0.1, 13.0, 0.3]
        frame = pd.read_csv("runs/sweeps/beta/sweep.csv")
        assert frame["error"].fillna("").tolist() == ["", "RuntimeError: diverged", ""]
        assert math.isnan(frame["accuracy"][1])
        assert "diverged" in Path("runs/sweeps/beta/point2.txt").read_text()
        assert "failed" in capsys.readouterr().out

    def test_ctrl_c_stops(self, ran: list, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(cfg):
            raise KeyboardInterrupt

        monkeypatch.setattr(sys.modules["apo_lightning.experiment.run"], "run", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep.sweep(sweep_file())

    def test_a_point_with_several_processes_gets_its_own(self, ran: list, monkeypatch: pytest.MonkeyPatch) -> None:
        """If they walked the grid, one that failed alone would leave the others waiting."""
        seen = []

        def launch(words, settings):
            seen.append(words)
            return processes.Outcome(1, "ValueError: torn", "Traceback: torn")

        monkeypatch.setattr(processes, "launch", launch)
        with pytest.raises(ApoError, match="2 of 2 points failed"):
            sweep.sweep(sweep_file(), ["trainer.devices=2"])
        assert ran == [] and len(seen) == 2
        assert seen[1][:2] == ["run", "experiments/small.yaml"]
        assert {"stages.apo.loss.beta=1.0", "trainer.devices=2", "name=small-beta/2"} <= set(seen[1])
        assert "Traceback: torn" in Path("runs/sweeps/beta/point2.txt").read_text()

    def test_two_parameters_and_words(self, ran: list) -> None:
        parameters = BETAS | {"wandb.project": {"values": ["p", "q"]}}
        frame = sweep.sweep(sweep_file(parameters=parameters))
        assert list(zip(frame["stages.apo.loss.beta"], frame["wandb.project"], strict=True)) == [
            (0.1, "p"),
            (0.1, "q"),
            (1.0, "p"),
            (1.0, "q"),
        ]


def test_axis_is_logarithmic_from_a_factor_of_ten() -> None:
    assert sweep.scale([0.1, 1.0]) == "log"
    assert sweep.scale([0.1, 0.9]) == "linear"
    assert sweep.scale([0.0, 1.0]) == "linear"


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_our_sweep_files_are_what_wandb_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``wandb sweep`` wants a command, a method, and parameters with values; the macro must be the last word."""
    spec = yaml.safe_load(path.read_text())
    assert spec["command"][:2] == ["${env}", "python"]
    assert spec["command"][-1] == "${args_no_hyphens}"
    assert spec["metric"]["goal"] in ("maximize", "minimize")
    monkeypatch.undo()  # the fake registries
    monkeypatch.chdir(ROOT)
    experiment, words = sweep.read_command(spec, path)
    objective.require(spec["metric"], config.load(experiment, words), path.name)
    assert len(sweep.expand(spec, path)) >= 2
