"""A trial of a W&B sweep as its agent starts it, read back from its offline files."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from lightning.pytorch import Trainer

from apo_lightning import config
from apo_lightning.experiment.run import run
from tests.helpers import offline_wandb
from tests.helpers.offline_wandb import OfflineRun
from tests.pipeline.conftest import ROOT

SMOKE = ROOT / "experiments" / "smoke.yaml"


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """As ``wandb agent`` starts a trial, in a process of its own and here without a server."""
    for name, value in {"SWEEP_ID": "abc", "RUN_ID": "first", "MODE": "offline"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    with offline_wandb.new_process():
        yield monkeypatch


def measured(folder: Path) -> pd.Series:
    frame = pd.read_csv(folder / "results.csv")
    frame = frame[(frame.kind == "arm") & (frame.finding == "mean") & (frame.metric == "accuracy")]
    return frame.set_index(["arm", "seed"]).value


def trial(home: Path, words: list[str], run_id: str) -> tuple[Path, OfflineRun]:
    with offline_wandb.new_process():
        folder = run(config.load(SMOKE, words))
    (own,) = [each for each in offline_wandb.read_all(home) if each.id == run_id]
    return folder, own


def test_a_trial_is_one_run_also_where_everything_is_in_the_store(
    words: list[str], tmp_path: Path, agent: pytest.MonkeyPatch
) -> None:
    given = [
        *words,
        f"runs_dir={tmp_path}",
        "only=[base, spd_mt]",
        "seeds=[0, 1]",
        "stages.spd.steps=2",
        "data.test=2",
        "evaluate.likelihood.form='off'",
    ]
    folder, first = trial(tmp_path, given, "first")
    assert folder == tmp_path / "smoke-sweep/abc/first" and len(offline_wandb.read_all(tmp_path)) == 1
    agent.setenv("WANDB_RUN_ID", "second")
    agent.setattr(Trainer, "fit", lambda *args, **how: pytest.fail("a stage was run again"))
    _, second = trial(tmp_path, given, "second")
    accuracy = measured(folder)
    for own in (first, second):
        logged = own.logged()
        for (arm, seed), value in accuracy.items():
            assert logged[f"{arm}/seed{seed}/test/accuracy"] == pytest.approx(value)
        for arm, values in accuracy.groupby("arm"):
            assert logged[f"{arm}/test/accuracy"] == pytest.approx(values.mean())
        assert own.curve("test/accuracy") == [pytest.approx(statistics.fmean(accuracy))]
        assert own.curve("spd_mt/seed1/spd/step")[-1] == 1
        assert len(own.curve("spd_mt/seed0/spd/train/loss")) == len(own.curve("spd_mt/seed1/spd/train/loss")) == 2
        assert own.step_metrics["spd_mt/seed0/spd/*"] == "spd_mt/seed0/spd/step"
        assert {"tables/results", "tables/differences", "figures/accuracy"} <= set(logged)
        assert own.config["prompt"] == "describe" and set(own.config["arms"]) == {"base", "spd_mt"}
    loss = "spd_mt/seed1/spd/train/loss"
    assert first.curve(loss) == pytest.approx(second.curve(loss))
