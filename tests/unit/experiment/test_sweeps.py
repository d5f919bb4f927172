"""The local sweep: what a file may say, what it refuses, and the table, with a run that only writes results."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT

from apo_lightning import config
from apo_lightning.config.layers import read_words
from apo_lightning.errors import ApoError, ArtifactError, ConfigError
from apo_lightning.experiment import objective, once, processes
from apo_lightning.experiment.sweeps import figures, file, points, proposals, run, trial, worker
from tests.helpers.fakes import fake_registries, write_experiment
from tests.helpers.sweep_files import BETAS, COMMAND, put_run, sweep_file, write_results

ALL = [*COMMAND[:6], "seeds=[0, 3]", "evaluate.split=val", COMMAND[-1]]
ACCURACY = {"name": "val/accuracy", "goal": "maximize"}
ONE = [*ALL[:-1], "only=[apo]", COMMAND[-1]]


@pytest.fixture(autouse=True)
def _experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_registries(monkeypatch)
    write_experiment(tmp_path)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """A run module that writes accuracy = beta (0.1 below and above it for two seeds), and fails at beta 13."""
    calls = []

    def run_one(cfg):
        beta = cfg.stages.apo.loss["beta"]
        calls.append((cfg.name, beta))
        print("a long table of the run")
        once._tell(once.Told("spd", made=len(calls) == 1))
        once._tell(once.Told("apo", made=True, facts={"computed": {"reference rows read": 3}}))
        if beta == 13:
            raise RuntimeError("diverged")
        write_results(cfg)

    put_run(monkeypatch, run_one)
    return calls


def checked(path: Path, overrides: tuple[str, ...] = ()) -> list[points.Point]:
    return points.check(file.read(path, overrides))


class TestGrid:
    def test_the_last_parameter_changes_fastest(self) -> None:
        parameters = {"a": {"values": [1, 2]}, "b": {"values": ["x", [1, 2]]}, "c": {"value": 0}}
        plan = file.read(sweep_file(parameters=parameters))
        grid = [tuple(proposals.values(plan, drawn).values()) for drawn in proposals.known_before(plan)]
        assert grid == [(1, "x", 0), (1, [1, 2], 0), (2, "x", 0), (2, [1, 2], 0)] and plan.count == 4
        assert file.read(plan.path, trials=3).count == 3

    def test_points_hold_checked_experiments_under_their_own_names(self) -> None:
        grid = checked(sweep_file(), ("evaluate.max_new_tokens=5",))
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
        words = [f"wandb.entity={points.word(value)}" for value in values]
        assert [word.value for word in read_words(words)] == values

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                {"method": "byes"},
                "method must be one of grid, random, bayes, got 'byes' (experiments/sweeps/beta.yaml).",
            ),
            (
                {"methd": "grid"},
                "'methd' is no key of a sweep file (experiments/sweeps/beta.yaml). Did you mean 'method'?",
            ),
            ({"run_cap": 0}, "run_cap must be a number of trials, got 0"),
            ({"early_terminate": {"type": "hyperband"}}, "early_terminate must have one of min_iter and max_iter, got"),
            ({"parameters": {}}, "parameters must name at least one parameter, got {}"),
            (
                {"parameters": {"a.b": {"min": 0, "max": 1}}},
                "parameters.a.b must have a list of values in a grid (exper",
            ),
            ({"parameters": {"a.b": {"values": []}}}, "parameters.a.b must have a list of values"),
            ({"command": ["python", "train.py"]}, "command must be a list of the form [..., run, EXPERIMENT"),
            ({"command": None}, "command must be a list of the form"),
            ({"command": [*COMMAND[:5], "nope", COMMAND[-1]]}, "There is no experiment 'nope'"),
        ],
    )
    def test_refused(self, change: dict, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            checked(sweep_file(**change))
        assert str(caught.value).startswith(said)

    def test_every_wrong_trial_is_told_and_nothing_runs(self, ran: list) -> None:
        path = sweep_file(parameters={"stages.apo.loss.beta": {"values": [1.0, -1.0, 0.0]}})
        with pytest.raises(ConfigError) as caught:
            run.sweep(path)
        assert str(caught.value).splitlines() == [
            f"Trial {number} of experiments/sweeps/beta.yaml, stages.apo.loss.beta={beta}: "
            f"stages.apo.loss.beta must be > 0, got {beta} (command line)."
            for number, beta in ((2, -1.0), (3, 0.0))
        ]
        assert ran == [] and not Path("runs").exists()

    @pytest.mark.parametrize(
        ("changes", "overrides"),
        [
            ({"parameters": {"stages.apo.loss.betta": {"values": [0.1, 0.2, 0.3]}}}, []),
            ({"parameters": {"stages.apo.loss.betta": {"min": 0.1, "max": 2.0}}, "method": "random", "run_cap": 9}, []),
            ({"parameters": {"stages.apo.loss.betta": {"min": 0.1, "max": 2.0}}, "method": "bayes", "run_cap": 9}, []),
            ({"parameters": {"stages.apo.loss.beta": {"values": [0.1, 0.2, 0.3]}}}, ["stages.apo.loss.betta=1"]),
        ],
    )
    def test_a_typo_is_told_once_before_the_first_trial(self, ran: list, changes: dict, overrides: list) -> None:
        with pytest.raises(ConfigError) as caught:
            run.sweep(sweep_file(**changes), overrides)
        assert str(caught.value).count("betta") <= 3 and str(caught.value).count("Did you mean 'beta'?") == 1
        assert ran == [] and not Path("runs").exists()


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
        assert len(checked(sweep_file(command=command, metric={"name": name, "goal": "maximize"}))) == 2

    def test_one_arm_needs_none(self) -> None:
        assert len(checked(sweep_file(command=ONE))) == 2

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
            (ONE, {"name": "val/accuracy"}, "metric.goal must be one of maximize, minimize, got None"),
            (ONE, {"name": "val/accurcy"}, "metric.name ends with no metric that is measured, got 'val/accurcy'"),
        ],
    )
    def test_refused_once_before_anything_runs(self, ran: list, command: list, metric: object, said: str) -> None:
        if (isinstance(metric, dict) and metric != {"name": "val/accuracy"}) or command is ALL:
            metric = {"goal": "maximize"} | metric if metric and "name" in metric else metric
        with pytest.raises(ConfigError) as caught:
            run.sweep(sweep_file(command=command, metric=metric))
        assert str(caught.value).startswith(said) and "\n" not in str(caught.value) and ran == []

    def test_each_point_is_asked_for_its_own_arms(self) -> None:
        parameters = {"only": {"values": [["apo"], ["sft"], ["sft", "apo"]]}}
        with pytest.raises(ConfigError, match="one of the 2 arms"):
            checked(sweep_file(command=ALL, parameters=parameters, metric=ACCURACY))
        one = {"only": {"values": [["apo"], ["sft"]]}}
        assert len(checked(sweep_file(command=ALL, parameters=one, metric=ACCURACY))) == 2


class TestSweep:
    def test_table_is_the_mean_over_seeds_of_each_arm(self, ran: list, capsys: pytest.CaptureFixture) -> None:
        frame = run.sweep(sweep_file())
        assert ran == [("small-beta/1", 0.1), ("small-beta/2", 1.0)]
        assert frame["accuracy"].tolist() == pytest.approx([0.1, 1.0])
        assert frame["balanced_accuracy"].tolist() == pytest.approx([0.1, 1.0])
        assert frame["arm"].tolist() == ["apo", "apo"] and frame["best"].tolist() == [False, True]
        written = pd.read_csv("runs/sweeps/beta/sweep.csv")
        assert written["stages.apo.loss.beta"].tolist() == [0.1, 1.0]
        assert Path("runs/sweeps/beta/curve.png").read_bytes().startswith(b"\x89PNG")
        assert written["trained"].tolist() == ["spd, apo", "apo"]
        assert written["reused"].fillna("").tolist() == ["reference", "spd, reference"]
        said = capsys.readouterr().out
        assert "a long table of the run" not in said
        assert "a long table of the run" in Path("runs/sweeps/beta/trial1.log").read_text()
        assert (
            "trial 2 of 2: apo.beta=1.0\n  trial 2: test/accuracy 1; trained apo; reused spd, reference; 1 s\n" in said
        )
        assert "sweep beta: test split, mean over findings and seeds" in said and "* 2" in said
        assert "best: trial 2, test/accuracy 1 (maximize)" in said

    def test_a_failed_trial_does_not_stop_the_others_and_is_run_again(
        self, ran: list, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = sweep_file(parameters={"stages.apo.loss.beta": {"values": [0.1, 13.0, 0.3]}})
        with pytest.raises(ApoError, match=r"1 of 3 trials failed: 2\."):
            run.sweep(path)
        assert [beta for _, beta in ran] == [0.1, 13.0, 0.3]
        frame = pd.read_csv("runs/sweeps/beta/sweep.csv")
        assert frame["error"].fillna("").tolist() == ["", "RuntimeError: diverged", ""]
        assert math.isnan(frame["accuracy"][1])
        assert "RuntimeError: diverged" in Path("runs/sweeps/beta/trial2.log").read_text()
        assert "failed" in capsys.readouterr().out
        put_run(monkeypatch, lambda cfg: (ran.append((cfg.name, 13.0)), write_results(cfg)))
        frame = run.sweep(path)
        assert ran[3:] == [("small-beta/2", 13.0)]
        assert frame["trial"].tolist() == [1, 2, 3] and set(frame["error"]) == {""}

    def test_ctrl_c_stops_and_the_trial_is_run_again(self, ran: list, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(cfg):
            raise KeyboardInterrupt

        whole = sys.modules["apo_lightning.experiment.run"].run
        monkeypatch.setattr(sys.modules["apo_lightning.experiment.run"], "run", stop)
        with pytest.raises(KeyboardInterrupt):
            run.sweep(sweep_file())
        monkeypatch.setattr(sys.modules["apo_lightning.experiment.run"], "run", whole)
        assert run.sweep(sweep_file())["trial"].tolist() == [1, 2]

    def test_the_same_command_runs_nothing_twice_and_a_larger_number_adds(self, ran: list) -> None:
        random = {"method": "random", "parameters": {"stages.apo.loss.beta": {"min": 0.1, "max": 2.0}}}
        path = sweep_file(**random)
        first = run.sweep(path, trials=2)
        assert len(ran) == 2 and first.equals(run.sweep(path, trials=2)) and len(ran) == 2
        more = run.sweep(path, trials=3)
        assert len(ran) == 3 and more["trial"].tolist() == [1, 2, 3]
        assert more["accuracy"].tolist()[:2] == first["accuracy"].tolist()
        with pytest.raises(ConfigError, match="A random search needs a number of trials"):
            run.sweep(path)

    def test_what_is_there_and_what_ties_is_said(self, ran: list, capsys: pytest.CaptureFixture) -> None:
        """The second parameter changes nothing that is measured: two trials end alike."""
        two = {"stages.apo.loss.beta": {"values": [0.2]}, "stages.apo.optim.lr": {"values": [1e-4, 1e-3]}}
        path = sweep_file(parameters=two)
        run.sweep(path)
        said = capsys.readouterr().out
        assert "are there already" not in said
        assert "test/accuracy 0.2 (maximize); 2 trials have this value, and the first is shown" in said
        run.sweep(path, trials=9)
        said = capsys.readouterr().out
        assert said.startswith("2 of 2 trials are there already, in runs/sweeps/beta\n")
        assert "This sweep has 2 trials; --trials 9 adds none." in said
        run.sweep(sweep_file("other"))
        assert "2 trials have this value" not in capsys.readouterr().out

    def test_a_trial_with_several_processes_gets_its_own(self, ran: list, monkeypatch: pytest.MonkeyPatch) -> None:
        """If they took trials, one that failed alone would leave the others waiting."""
        seen = []

        def launch(words, settings):
            seen.append(words)
            return processes.Outcome(1, "ValueError: torn", "Traceback: torn")

        monkeypatch.setattr(processes, "launch", launch)
        with pytest.raises(ApoError, match="2 of 2 trials failed"):
            run.sweep(sweep_file(), ["trainer.devices=2"])
        assert ran == [] and len(seen) == 2
        assert seen[1][:2] == ["run", "experiments/small.yaml"]
        assert {"stages.apo.loss.beta=1.0", "trainer.devices=2", "name=small-beta/2"} <= set(seen[1])
        assert "Traceback: torn" in Path("runs/sweeps/beta/trial2.log").read_text()

    def test_two_parameters_and_words(self, ran: list) -> None:
        parameters = BETAS | {"wandb.project": {"values": ["p", "q"]}}
        frame = run.sweep(sweep_file(parameters=parameters))
        assert list(zip(frame["stages.apo.loss.beta"], frame["wandb.project"], strict=True)) == [
            (0.1, "p"),
            (0.1, "q"),
            (1.0, "p"),
            (1.0, "q"),
        ]
        assert Path("runs/sweeps/beta/parallel.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("changes", "overrides", "said"),
        [
            (
                {"parameters": {"stages.apo.loss.beta": {"values": [0.1, 2.0]}}},
                [],
                "parameters.stages.apo.loss.beta was",
            ),
            ({"metric": {"name": "test/accuracy", "goal": "minimize"}}, [], "metric was"),
            ({}, ["evaluate.max_new_tokens=5"], "experiment.evaluate.max_new_tokens was 60, is 5"),
            ({"command": [*COMMAND[:6], "only=[dpo]", COMMAND[-1]]}, [], "runs.arms was"),
        ],
    )
    def test_another_sweep_is_not_mixed_with_what_was_begun(
        self, ran: list, changes: dict, overrides: list, said: str
    ) -> None:
        run.sweep(sweep_file())
        with pytest.raises(ArtifactError, match=said) as caught:
            run.sweep(sweep_file(**changes), overrides)
        assert str(caught.value).startswith("runs/sweeps/beta/study.db holds trials of another sweep: ")
        assert len(ran) == 2

    def test_what_was_never_begun_makes_room(self, ran: list, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(worker, "work", lambda record: None)
            with pytest.raises(ApoError, match="2 of 2 trials were not run to their end"):
                run.sweep(sweep_file())
        wider = {"parameters": {"stages.apo.loss.beta": {"values": [0.2, 0.3, 0.4]}}}
        assert run.sweep(sweep_file(**wider))["accuracy"].tolist() == pytest.approx([0.2, 0.3, 0.4])


class TestBayes:
    PARAMETERS = {"stages.apo.loss.beta": {"distribution": "log_uniform_values", "min": 0.01, "max": 10.0}}  # noqa: RUF012

    def test_it_learns_and_two_sweeps_are_alike(self, ran: list) -> None:
        path = sweep_file(method="bayes", parameters=self.PARAMETERS, run_cap=16, metric=None)
        first = run.sweep(path)
        betas = first["stages.apo.loss.beta"]
        assert betas[proposals.STARTUP :].median() > betas[: proposals.STARTUP].median()  # accuracy grows with beta
        again = run.sweep(sweep_file("other", method="bayes", parameters=self.PARAMETERS, run_cap=16))
        assert again["stages.apo.loss.beta"].tolist() == betas.tolist() and len(set(betas)) == 16

    def test_goal_is_heeded(self, ran: list) -> None:
        metric = {"name": "test/accuracy", "goal": "minimize"}
        frame = run.sweep(sweep_file(method="bayes", parameters=self.PARAMETERS, run_cap=12, metric=metric))
        betas = frame["stages.apo.loss.beta"]
        assert betas[proposals.STARTUP :].median() < betas[: proposals.STARTUP].median()
        assert frame.loc[frame["best"], "stages.apo.loss.beta"].item() == betas.min()


def test_seconds_of_a_trial_are_those_of_all_its_attempts_without_waiting() -> None:
    parts = [
        trial.Part("spd", True, 20.0, attempt=1),  # killed after it
        trial.Part("spd", False, 1.0, attempt=2),
        trial.Part("collect", False, 9.0, attempt=2, waited=7.0),
        trial.Part("apo", True, 14.0, attempt=2, reference=False),
        trial.Part("", False, 15.0, attempt=2),
    ]
    assert trial.summary(parts) == {
        "made": ["spd", "apo"],
        "reused": ["collect", "reference"],
        "seconds": 28.0,
        "waited": 7.0,
    }


def test_axis_is_logarithmic_from_a_factor_of_ten() -> None:
    assert figures.scale([0.1, 1.0]) == "log"
    assert figures.scale([0.1, 0.9]) == "linear"
    assert figures.scale([0.0, 1.0]) == "linear"


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_our_sweep_files_are_what_wandb_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``wandb sweep`` wants a command, a method, and parameters with values; the macro must be the last word."""
    spec = yaml.safe_load(path.read_text())
    assert spec["command"][:2] == ["${env}", "python"]
    assert spec["command"][-1] == "${args_no_hyphens}"
    assert spec["metric"]["goal"] in ("maximize", "minimize")
    monkeypatch.undo()  # the fake registries
    monkeypatch.chdir(ROOT)
    plan = file.read(path)
    objective.require(spec["metric"], config.load(plan.experiment, plan.fixed), path.name)
    assert plan.count >= 2
    first, *_ = proposals.known_before(plan)
    assert points.load(plan, 1, proposals.values(plan, first)).cfg.evaluate.split == "val"
