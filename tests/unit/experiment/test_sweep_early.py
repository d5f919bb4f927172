"""Trials that are ended early: what a file may ask for, who goes on, and what is kept of those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from optuna.trial import TrialState

from apo_lightning.errors import ApoError, ConfigError
from apo_lightning.experiment import curves, trainer  # noqa: F401 the second before its packages are replaced by fakes
from apo_lightning.experiment.jsonl_logger import JsonlLogger
from apo_lightning.experiment.run_names import Who
from apo_lightning.experiment.sweeps import early, file, points, run
from apo_lightning.experiment.sweeps.record import Record
from tests.helpers.fakes import fake_registries, write_experiment
from tests.helpers.sweep_files import COMMAND, put_run, sweep_file, write_results

CURVE = "apo/seed0/apo/val/score"
HALVING = {"type": "hyperband", "min_iter": 1, "eta": 2}
VALIDATED = [*COMMAND[:7], "trainer.val_check_interval=2", COMMAND[-1]]


@pytest.fixture(autouse=True)
def _experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_registries(monkeypatch)
    write_experiment(tmp_path)


def early_file(betas: list[float] = [0.5], **changes: Any) -> Path:  # noqa: B006
    """A sweep over betas whose trials are ended early by `CURVE`."""
    parameters = {"stages.apo.loss.beta": {"values": betas}}
    own = {"command": VALIDATED, "early_terminate": HALVING, "metric": {"name": CURVE, "goal": "maximize"}}
    return sweep_file(parameters=parameters, **own | changes)


def log(cfg: Any, values: list[float], stored: int = 0) -> None:
    """As a fit does that logs these values in the arm's stage, the first ``stored`` of them before a stop."""
    folder = Path(cfg.runs_dir) / cfg.name / "apo" / "seed0" / "apo"
    folder.mkdir(parents=True, exist_ok=True)
    journal = JsonlLogger(folder)
    for step, value in enumerate(values[:stored]):
        journal.log_metrics({"val/score": value}, step)
    listeners = [journal, *curves.loggers(Who(cfg.name, "apo", 0), "apo", folder)]
    for step, value in enumerate(values[stored:], stored):
        for each in listeners:
            each.log_metrics({"val/score": value, "val/loss": 9.0}, step)


class TestFile:
    @pytest.mark.parametrize(
        ("spec", "first", "factor"),
        [
            ({"type": "hyperband", "min_iter": 3}, 3, 3),
            ({"type": "hyperband", "min_iter": 2, "eta": 4, "strict": False}, 2, 4),
            ({"type": "hyperband", "max_iter": 27, "s": 2}, 3, 3),  # W&B's own example: compared at 9 and at 3
            ({"type": "hyperband", "max_iter": 4, "s": 3, "eta": 2}, 1, 2),
        ],
    )
    def test_taken(self, spec: dict, first: int, factor: int) -> None:
        plan = file.read(early_file(early_terminate=spec))
        assert plan.early == early.Early(first, factor) and len(points.check(plan)) == 1

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"early_terminate": "hyperband"},
                "early_terminate must be {type: hyperband, min_iter: 3}",
            ),
            ({"early_terminate": {"type": "median"}}, "early_terminate must be {type: hyperband, min_iter: 3}, got {"),
            (
                {"early_terminate": {"type": "hyperband"}},
                "early_terminate must have one of min_iter and max_iter",
            ),
            ({"early_terminate": HALVING | {"max_iter": 9}}, "early_terminate must have one of min_iter and max_iter"),
            (
                {"early_terminate": HALVING | {"min_iter": 0}},
                "early_terminate.min_iter must be a whole number >= 1, got",
            ),
            ({"early_terminate": HALVING | {"eta": 1}}, "early_terminate.eta must be a whole number >= 2, got 1"),
            (
                {"early_terminate": {"type": "hyperband", "max_iter": 9}},
                "early_terminate.s must be a whole number",
            ),
            (
                {"early_terminate": HALVING | {"min_itr": 1}},
                "early_terminate.min_itr is no key of a sweep file",
            ),
            ({"early_terminate": HALVING | {"strict": True}}, "early_terminate.strict is not done here, got True"),
            ({"metric": None}, "early_terminate needs as metric.name what a stage logs while"),
            (
                {"metric": {"name": "test/accuracy", "goal": "maximize"}},
                "early_terminate needs as metric.name what",
            ),
            (
                {"metric": {"name": "apo/seed0/collect/val/loss", "goal": "minimize"}},
                "early_terminate needs as metric.name what a stage logs while it trains (<arm>/seed<k>/<stage>/<name>, "
                "as apo/seed0/apo/val/loss), got 'apo/seed0/collect/val/loss' (experiments/sweeps/beta.yaml).",
            ),
            (
                {"command": COMMAND},
                f"early_terminate by '{CURVE}' needs a stage that is validated while it trains (experiments/sweeps/beta"
                ".yaml). Add trainer.val_check_interval=20 (steps between two validations) to its command.",
            ),
            (
                {"command": [*VALIDATED[:-1], "trainer.devices=2", VALIDATED[-1]]},
                "early_terminate is not done where a trial has several processes, got trainer.devices=2 (experiments/s",
            ),
        ],
    )
    def test_refused_before_the_first_trial(self, changes: dict, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            run.sweep(early_file(**changes))
        assert str(caught.value).startswith(said) and not Path("runs").exists()


class TestSweep:
    """Worked out by hand for one in two and a comparison at values 1, 2, 4."""

    SCORES = {  # noqa: RUF012
        0.1: [0.5, 0.6, 0.6, 0.6],  # alone, so it goes on each time
        0.2: [0.4, 0.9, 0.9, 0.9],  # at 1 the better of (.5, .4) goes on: not this one
        0.3: [0.7, 0.5, 0.9, 0.9],  # at 1 the best of three; at 2 the better of (.6, .5): not this one
        0.4: [0.6, 0.7, 0.8, 0.9],  # at 1 the two best of four (.7, .6); at 2 the best of three; at 4 better than .6
    }
    LAST = ((0.1, 0.6, ""), (0.2, 0.4, 1), (0.3, 0.5, 2), (0.4, 0.9, ""))
    """Beta, the trial's value, and where it was ended."""

    def sweep(self, monkeypatch: pytest.MonkeyPatch, stored: int = 0, goal: str = "maximize") -> pd.DataFrame:
        sign = 1 if goal == "maximize" else -1

        def run_one(cfg: Any) -> None:
            beta = cfg.stages.apo.loss["beta"]
            log(cfg, [sign * score for score in self.SCORES[beta]], stored)
            write_results(cfg)

        put_run(monkeypatch, run_one)
        return run.sweep(early_file(list(self.SCORES), metric={"name": CURVE, "goal": goal}))

    def test_who_goes_on(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        frame = self.sweep(monkeypatch)
        found = frame[["stages.apo.loss.beta", "value", "ended"]].itertuples(index=False, name=None)
        assert tuple(found) == self.LAST
        assert frame["best"].tolist() == [False, False, False, True]
        assert frame["accuracy"].isna().tolist() == [False, True, True, False] and set(frame["error"]) == {""}
        said = capsys.readouterr().out
        assert "trial 2: ended early, others were better; " in said and "ended at 2" in said
        assert f"ended at {CURVE} 0.5, value 2 of its curve" in Path("runs/sweeps/beta/trial3.log").read_text()

    def test_goal_is_heeded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        frame = self.sweep(monkeypatch, goal="minimize")
        assert tuple(zip(frame["value"], frame["ended"], strict=True)) == tuple((-v, n) for _, v, n in self.LAST)

    def test_values_from_before_a_stop_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first that this process logs is the second of the curve."""
        frame = self.sweep(monkeypatch, stored=1)
        found = frame[["stages.apo.loss.beta", "value", "ended"]].itertuples(index=False, name=None)
        assert tuple(found) == self.LAST

    def test_a_stage_from_the_store_is_compared_with(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def run_one(cfg: Any) -> None:
            score = cfg.stages.apo.loss["beta"]
            log(cfg, [score, score], stored=2 if score == 0.9 else 0)
            write_results(cfg)

        put_run(monkeypatch, run_one)
        frame = run.sweep(early_file([0.9, 0.5]))
        assert frame["ended"].tolist() == ["", 1]
        plan = file.read(Path("experiments/sweeps/beta.yaml"))
        kept = Record(Path("runs/sweeps/beta"), plan).trials[0]
        assert kept.intermediate_values == {1: 0.9, 2: 0.9} and kept.state == TrialState.COMPLETE

    def test_what_was_ended_is_not_run_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = self.sweep(monkeypatch)
        put_run(monkeypatch, lambda cfg: pytest.fail("run again"))
        assert run.sweep(Path("experiments/sweeps/beta.yaml")).equals(first)

    def test_no_number_ends_a_trial(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put_run(monkeypatch, lambda cfg: (log(cfg, [float("nan"), 1.0]), write_results(cfg)))
        assert run.sweep(early_file([0.1]))["ended"].tolist() == [1]

    def test_a_failure_stays_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def run_one(cfg: Any) -> None:
            log(cfg, [0.5])
            raise RuntimeError("diverged")

        put_run(monkeypatch, run_one)
        with pytest.raises(ApoError, match="1 of 1 trials failed"):
            run.sweep(early_file([0.1]))
