"""W&B runs as a user of W&B finds them: read back from the offline files, and a trial that is one run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import wandb
from conftest import ROOT
from lightning.pytorch.utilities import rank_zero_only

from apo_lightning import config
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import run_names, tracking
from apo_lightning.experiment.tracking import Who
from apo_lightning.files import jsonlines
from apo_lightning.reports import write
from apo_lightning.settings import ExperimentSettings, WandbSettings
from tests.helpers import fake_run, offline_wandb

WHO = Who("smoke", "apo_listwise", 3)
OFFLINE = WandbSettings(mode="offline")


def experiment(*words: str) -> ExperimentSettings:
    return config.load(ROOT / "experiments" / "smoke.yaml", words)


@pytest.fixture
def resolved() -> dict[str, Any]:
    words = ["stages.apo.loss.beta=0.25"]
    return config.to_dict(experiment(*words).resolved["apo_listwise"])


@pytest.fixture
def in_trial(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As ``wandb agent`` starts it, in a process of its own and here without a server."""
    for name, value in {"SWEEP_ID": "abc", "RUN_ID": "trial1", "MODE": "offline"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    with offline_wandb.new_process():
        yield


class TestRuns:
    def test_nothing_is_handed_on_that_wandb_warns_of(self, tmp_path: Path, resolved: dict, monkeypatch) -> None:
        """Lightning gives it a setting that it has no more, in every stage."""
        said: list[str] = []
        monkeypatch.setattr("wandb.termwarn", lambda text, **_: said.append(text))
        (logger,) = tracking.stage_logger(OFFLINE, tmp_path, WHO, "apo", resolved)
        logger.log_metrics({"train/loss": 1.5}, step=1)
        logger.finalize("success")
        assert not [text for text in said if "anonymous" in text]

    def test_a_stage_holds_the_settings_of_its_arm(self, tmp_path: Path, resolved: dict) -> None:
        (logger,) = tracking.stage_logger(OFFLINE, tmp_path, WHO, "apo", resolved)
        logger.log_hyperparams({"optim": {"lr": 13}, "steps": 13})  # as Lightning does for a module that saves them
        logger.log_metrics({"train/loss": 1.5}, step=1)
        logger.finalize("success")
        (run,) = offline_wandb.read_all(tmp_path)
        assert (run.name, run.group, run.job_type) == ("apo_listwise/seed3/apo", "smoke", "apo")
        assert run.tags == ["smoke", "apo_listwise", "seed3", "apo"]
        own = {
            "arm": "apo_listwise",
            "label": resolved["arms"]["apo_listwise"]["label"],
            "seed": 3,
            "stage": "apo",
            "arm_stages": ["spd", "self_distill", "apo"],
            "curve": None,
        }
        assert run.config == {name: value for name, value in resolved.items() if name != "arms"} | own
        assert run.config["stages"]["apo"]["loss"]["beta"] == 0.25
        assert run.curve("train/loss") == [1.5] and run.curve("trainer/global_step") == [1]
        assert run.exit_code == 0 and wandb.run is None

    def test_a_stage_that_fails_is_marked_so(self, tmp_path: Path, resolved: dict) -> None:
        (logger,) = tracking.stage_logger(OFFLINE, tmp_path, WHO, "apo", resolved)
        logger.log_metrics({"train/loss": 1.5}, step=1)
        logger.finalize("failed")
        assert offline_wandb.read_all(tmp_path)[0].exit_code == 1

    def test_a_second_loop_of_the_same_trainer_goes_on_with_the_run(self, tmp_path: Path, resolved: dict) -> None:
        (logger,) = tracking.stage_logger(OFFLINE, tmp_path, WHO, "apo", resolved)
        for step in (1, 2):
            logger.log_metrics({"val/loss": step}, step=step)
            logger.finalize("success")
        first, second = offline_wandb.read_all(tmp_path)
        assert first.id == second.id and [first.curve("val/loss"), second.curve("val/loss")] == [[1], [2]]

    def test_a_fit_without_a_logged_step_makes_no_run(self, tmp_path: Path, resolved: dict) -> None:
        (logger,) = tracking.stage_logger(OFFLINE, tmp_path, WHO, "apo", resolved)
        logger.finalize("success")  # ``fast_dev_run`` puts another logger in its place
        assert offline_wandb.read_all(tmp_path) == []

    def test_an_evaluation_holds_its_scores_and_settings(self, tmp_path: Path, resolved: dict) -> None:
        tracking.tell_evaluation(OFFLINE, tmp_path, WHO, {"val/accuracy": 0.75}, resolved)
        (run,) = offline_wandb.read_all(tmp_path)
        assert (run.name, run.group, run.job_type) == ("apo_listwise/seed3/evaluate", "smoke", "evaluate")
        assert run.tags == ["smoke", "apo_listwise", "seed3", "evaluate"]
        assert run.config["stages"]["apo"]["loss"]["beta"] == 0.25 and run.config["stage"] == "evaluate"
        assert run.logged() == {"val/accuracy": 0.75}

    def test_a_report_is_one_run_with_what_all_arms_share(self, tmp_path: Path) -> None:
        folder = fake_run.make(tmp_path, arms=("spd_mt", "sft"), seeds=(0,), steps=2)
        write(folder)
        for _ in range(2):
            tracking.tell_report(OFFLINE, folder, "fake", run_names.run_config(experiment().resolved))
        first, second = offline_wandb.read_all(folder)
        assert (first.name, first.group, first.job_type) == ("report", "fake", "report") and first.id == second.id
        assert {"tables/results", "tables/differences", "figures/accuracy"} <= set(first.logged())
        assert first.config["prompt"] == "describe" and set(first.config["arms"]) == {"base", "spd_mt", "apo_listwise"}

    def test_a_disabled_wandb_is_not_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wandb, "init", lambda **_: pytest.fail("W&B was asked"))
        monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
        cfg = experiment("wandb.mode=disabled")
        off = cfg.wandb
        assert tracking.stage_logger(off, tmp_path, WHO, "apo", {}) == []
        tracking.tell_stored(off, tmp_path, WHO, "apo")
        tracking.tell_evaluation(off, tmp_path, WHO, {"val/accuracy": 1.0}, {})
        tracking.tell_trial(off, tmp_path, {WHO: {"val/accuracy": 1.0}})
        tracking.tell_report(off, tmp_path, "x", {})
        with tracking.trial(cfg, tmp_path):
            tracking.tell_end(cfg, tmp_path)

    @pytest.mark.parametrize("shown", [False, True])
    def test_the_terminal_is_not_recorded_where_texts_may_not_be_shown(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolved: dict, shown: bool
    ) -> None:
        (logger,) = tracking.stage_logger(OFFLINE, tmp_path, WHO, "apo", resolved, shown=shown)
        own = logger._wandb_init["settings"]
        assert (own is None) == shown and (shown or own.console == "off")


def test_tags_are_unique_and_as_short_as_wandb_wants_them() -> None:
    assert run_names.tags("spd", "arm", "seed0", "spd") == ["spd", "arm", "seed0"]
    long, other = run_names.tags("x" * 70 + "a", "x" * 70 + "b")
    assert len(long) == len(other) == 64 and long != other
    wandb.Settings(run_tags=[long, other, "y" * 64])


@pytest.mark.parametrize("project", ["", "a/b", "50%", "x" * 129])
def test_a_project_that_wandb_refuses_is_said_before_anything_runs(project: str) -> None:
    with pytest.raises(ConfigError, match=r"wandb\.project must be 1 to 128 characters without / "):
        experiment(f"wandb.project='{project}'")


class TestConfigOfSeveral:
    def test_what_differs_stands_under_each_arm(self) -> None:
        cfg = experiment()
        cfg.resolved["spd_mt"].prompt = "diagnose"
        found = run_names.run_config(cfg.resolved)
        assert "prompt" not in found and found["stages"]["apo"]["loss"]["name"] == "apo_listwise"
        assert {arm: own["prompt"] for arm, own in found["arms"].items()} == {
            "base": "describe",
            "spd_mt": "diagnose",
            "apo_listwise": "describe",
        }
        assert found["arms"]["spd_mt"]["arm_stages"] == ["spd"]

    def test_one_arm_has_all_at_the_top(self) -> None:
        found = run_names.run_config(experiment("only=[apo_listwise]").resolved)
        assert found["arm"] == "apo_listwise" and found["prompt"] == "describe" and "arms" not in found


class TestMeans:
    SCORES: Mapping[Who, Mapping[str, float]] = {
        Who("x", "sft", 0): {"val/accuracy": 0.5, "val/f1": math.nan},
        Who("x", "sft", 1): {"val/accuracy": 0.75, "val/f1": 0.5},
        Who("x", "dpo", 0): {"val/accuracy": 0.25, "val/f1": 0.25},
        Who("x", "dpo", 1): {"val/accuracy": 0.5, "val/f1": 0.5},
    }

    def test_over_seeds_of_an_arm_and_over_arms(self) -> None:
        assert tracking.means(self.SCORES) == {
            "sft/val/accuracy": 0.625,
            "sft/val/f1": 0.5,
            "dpo/val/accuracy": 0.375,
            "dpo/val/f1": 0.375,
            "val/accuracy": 0.5,
            "val/f1": 0.4375,
        }

    def test_of_one_arm_and_seed_they_are_its_scores(self) -> None:
        found = tracking.means({WHO: {"val/accuracy": 0.3}})
        assert found == {"apo_listwise/val/accuracy": 0.3, "val/accuracy": 0.3}


@pytest.mark.usefixtures("in_trial")
class TestTrial:
    def test_everything_is_in_one_run_under_keys_of_its_own(self, tmp_path: Path) -> None:
        cfg = experiment("only=[apo_listwise]", "seeds=[0, 1]")
        with tracking.trial(cfg, tmp_path):
            for seed, accuracy in enumerate((0.5, 0.75)):
                who = Who(cfg.name, "apo_listwise", seed)
                (logger,) = tracking.stage_logger(cfg.wandb, tmp_path / "elsewhere", who, "apo", {})
                logger.log_metrics({"train/loss": 1.5 + seed}, step=7)
                logger.log_table("samples", columns=["a"], data=[["x"]], step=8)
                logger.finalize("success")
                tracking.tell_evaluation(cfg.wandb, tmp_path / "elsewhere", who, {"val/accuracy": accuracy}, {})
        (run,) = offline_wandb.read_all(tmp_path)
        assert run.id == "trial1" and run.exit_code == 0 and wandb.run is None
        assert run.tags == ["smoke", "apo_listwise", "seed0", "seed1"]
        assert run.config["arm"] == "apo_listwise" and run.config["seeds"] == [0, 1]
        assert run.curve("apo_listwise/seed1/apo/train/loss") == [2.5]
        assert run.curve("apo_listwise/seed1/apo/step") == [7, 8]
        assert run.step_metrics["apo_listwise/seed1/apo/*"] == "apo_listwise/seed1/apo/step"
        assert run.curve("apo_listwise/seed0/val/accuracy") == [0.5] and run.curve("val/accuracy") == []
        assert run.logged()["apo_listwise/seed0/apo/samples"]["_type"] == "table-file"

    def test_the_means_come_last(self, tmp_path: Path) -> None:
        tracking.tell_trial(OFFLINE, tmp_path, TestMeans.SCORES)
        wandb.run.finish()
        (run,) = offline_wandb.read_all(tmp_path)
        assert run.logged() == tracking.means(TestMeans.SCORES)

    def test_the_report_goes_into_the_trial(self, tmp_path: Path) -> None:
        folder = fake_run.make(tmp_path, arms=("spd_mt", "sft"), seeds=(0,), steps=2)
        write(folder)
        cfg = experiment()
        with tracking.trial(cfg, folder):
            tracking.tell_report(cfg.wandb, folder, "fake", {})
        (run,) = offline_wandb.read_all(folder)
        assert run.id == "trial1" and {"tables/results", "figures/accuracy", "studies"} <= set(run.logged())

    def test_curves_of_a_stored_stage_are_told_again(self, tmp_path: Path) -> None:
        rows = [{"step": 1, "train/loss": 2.0, "train/lr": 0.1}, {"step": 2, "train/loss": math.nan, "train/lr": 0.2}]
        jsonlines.write(tmp_path / "metrics.jsonl", rows)
        tracking.tell_stored(OFFLINE, tmp_path, WHO, "spd")
        tracking.tell_stored(OFFLINE, tmp_path / "none", WHO, "apo")
        wandb.run.finish()
        (run,) = offline_wandb.read_all(tmp_path)
        assert run.curve("apo_listwise/seed3/spd/train/loss") == [2.0]
        assert run.curve("apo_listwise/seed3/spd/train/lr") == [0.1, 0.2]
        assert run.curve("apo_listwise/seed3/spd/step") == [0, 1]

    def test_only_the_leader_opens_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The other processes get a logger that does nothing, since Lightning wants as many in each."""
        monkeypatch.setattr(wandb, "init", lambda **_: pytest.fail("W&B was asked"))
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        cfg = experiment()
        with tracking.trial(cfg, tmp_path):
            (logger,) = tracking.stage_logger(cfg.wandb, tmp_path, WHO, "apo", {})
            logger.log_metrics({"train/loss": 1.0}, step=0)
            logger.finalize("success")
            tracking.tell_evaluation(cfg.wandb, tmp_path, WHO, {"val/accuracy": 1.0}, {})
            tracking.tell_end(cfg, tmp_path)

    def test_one_that_fails_is_marked_so(self, tmp_path: Path) -> None:
        cfg = experiment()
        with pytest.raises(RuntimeError), tracking.trial(cfg, tmp_path):
            raise RuntimeError("diverged")
        assert offline_wandb.read_all(tmp_path)[0].exit_code == 1 and wandb.run is None

    def test_it_keeps_the_mode_and_place_of_its_agent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_MODE", "online")
        given: dict[str, Any] = {}
        monkeypatch.setattr(wandb, "init", lambda **how: given.update(how) or wandb.sdk.wandb_run.Run)
        tracking._trial(tmp_path, tags=["x"])
        assert given == {"dir": str(tmp_path), "tags": ["x"]} and tracking.os.environ["WANDB_MODE"] == "online"

    def test_texts_of_a_guarded_set_do_not_leave_by_the_terminal(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cfg, given = experiment(), []
        start = wandb.init
        monkeypatch.setattr(wandb, "init", lambda **how: given.append(how["settings"]) or start(**how))
        for acknowledge in ([], ["phantom"]):
            cfg.acknowledge = acknowledge
            with tracking.trial(cfg, tmp_path, {"phantom"}):
                pass
        assert given[0].console == "off" and given[1] is None


class Online:
    """A trial's run that has a server."""

    offline, entity, project, sweep_id = False, "me", "p", "abc"

    def __enter__(self) -> Online:
        return self

    def __exit__(self, *error: object) -> None: ...


@pytest.mark.usefixtures("in_trial")
class TestMetricOfATrial:
    def start(self, monkeypatch: pytest.MonkeyPatch, metric: Any, *words: str) -> None:
        def sweep(self: Any, path: str) -> Any:
            assert path == "me/p/abc"
            if isinstance(metric, Exception):
                raise metric
            return type("Sweep", (), {"config": {"method": "bayes", **metric}})

        monkeypatch.setattr(wandb, "init", lambda **_: Online())
        monkeypatch.setattr(wandb, "Api", lambda **_: type("Api", (), {"sweep": sweep})())
        cfg = experiment("evaluate.split=val", *words)
        with tracking.trial(cfg, Path()):
            self.ran = True

    @pytest.mark.parametrize("metric", [{}, {"metric": {"name": "val/accuracy", "goal": "maximize"}}])
    def test_several_arms_are_refused_unless_it_says_which(self, monkeypatch: pytest.MonkeyPatch, metric: dict) -> None:
        with pytest.raises(ConfigError, match=r"one of the 3 arms that are run, got .*\(W&B sweep abc\)"):
            self.start(monkeypatch, metric)
        assert not hasattr(self, "ran")

    @pytest.mark.parametrize("metric", [{"metric": {"name": "spd_mt/val/accuracy"}}, ValueError("no such sweep")])
    def test_an_arm_or_a_server_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch, metric: Any) -> None:
        self.start(monkeypatch, metric)
        assert self.ran

    def test_one_arm_needs_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.start(monkeypatch, {"metric": {"name": "val/accuracy"}}, "only=[base]")
        assert self.ran
