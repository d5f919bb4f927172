"""The whole pipeline in one process: what it writes, and that a second run trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from lightning.pytorch import Trainer

from apo_lightning import config
from apo_lightning.experiment.run import run
from apo_lightning.teachers.recorded import read_jsonl
from tests.helpers import offline_wandb
from tests.pipeline.conftest import ROOT

SMOKE = ROOT / "experiments" / "smoke.yaml"


@pytest.fixture(scope="module")
def folder(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = [*words, f"runs_dir={tmp_path_factory.mktemp('runs')}"]
    return run(config.load(SMOKE, given))


def stage(folder: Path, arm: str, name: str) -> Path:
    return folder / arm / "seed0" / name


def test_every_arm_teacher_and_baseline_has_its_row(folder: Path) -> None:
    frame = pd.read_csv(folder / "results.csv")
    kinds = {kind: list(group["arm"].unique()) for kind, group in frame.groupby("kind")}
    assert kinds["arm"] == ["base", "spd_mt", "apo_listwise"]
    assert kinds["teacher"] == ["eager", "cautious", "verbose", "terse", "sided", "hedger", "refuser"]
    assert kinds["baseline"] == ["preferred", "majority_vote", "always_yes", "always_no", "prevalence"]
    yes = frame[(frame.arm == "always_yes") & (frame.metric == "accuracy") & (frame.finding != "mean")].value
    no = frame[(frame.arm == "always_no") & (frame.metric == "accuracy") & (frame.finding != "mean")].value
    assert (yes.to_numpy() + no.to_numpy()).tolist() == pytest.approx([1.0] * 7)


def test_likelihoods_before_and_after_belong_to_the_trained_arm(folder: Path) -> None:
    frame = pd.read_csv(folder / "results.csv")
    logps = frame[frame.metric.str.startswith("logp")].set_index(["arm", "metric"]).value
    assert set(logps.index.get_level_values(0)) == {"apo_listwise"}
    change = logps["apo_listwise", "logp_preferred"] - logps["apo_listwise", "logp_preferred_before"]
    against = logps["apo_listwise", "logp_teachers"] - logps["apo_listwise", "logp_teachers_before"]
    assert change > against  # training moved t+ up against the teachers


def test_every_arm_says_what_it_knows_and_nobody_else_does(folder: Path) -> None:
    frame = pd.read_csv(folder / "results.csv")
    known = frame[frame.metric == "likelihood_auroc"]
    assert list(known[known.finding == "mean"].arm) == ["base", "spd_mt", "apo_listwise", "prevalence"]
    lines = (stage(folder, "base", "evaluate") / "statements.jsonl").read_text().splitlines()
    assert len(lines) == 6 and set(json.loads(lines[0])) == {"study", "patient", "truth", "p"}
    manifest = json.loads((stage(folder, "base", "evaluate") / "manifest.json").read_text())
    assert manifest["probes"]["statements"]["left_out"] == {} and manifest["probes"]["statements"]["statements"] == 28


def test_step_zero_of_apo_has_reward_zero_and_loss_log_of_one_plus_n(folder: Path) -> None:
    first = json.loads((stage(folder, "apo_listwise", "apo") / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 1
    assert first["train/reward_chosen"] == first["train/reward_rejected"] == 0.0
    assert 1.9 < first["train/loss"] <= 2.0795  # log 8, or log 7 where a study lost a refusal


def test_signs_of_failure_are_looked_for_in_training_and_in_answers(folder: Path) -> None:
    assert json.loads((stage(folder, "apo_listwise", "apo") / "failures.json").read_text()) == []  # too short to judge
    found = json.loads((folder / "failures.json").read_text())
    assert all({"arm", "seed", "stage", "signature", "warning", "advice"} <= set(row) for row in found)
    assert {row["signature"] for row in found} <= {"performance_collapse"}  # six studies are too few for bias


def test_arms_share_spd_and_every_stage_says_what_it_was_made_of(folder: Path) -> None:
    assert stage(folder, "spd_mt", "spd").resolve() == stage(folder, "apo_listwise", "spd").resolve()
    manifest = json.loads((stage(folder, "apo_listwise", "apo") / "manifest.json").read_text())
    assert manifest["filtered"]["kept"] > 0 and manifest["studies"] == 8 and manifest["control"] == {}
    assert {"versions", "commit", "machine", "inputs_sha256"} <= set(manifest)
    assert not list(folder.parent.glob("store/*/checkpoints")) and not list(folder.parent.glob("store/*/parts"))


def test_every_wandb_run_says_whose_it_is_and_with_which_settings(folder: Path, words: list[str]) -> None:
    """Read from the offline files; arms that share a stage share its run."""
    found = {own.name: own for own in offline_wandb.read_all(folder.parent)}
    assert set(found) == {
        "base/seed0/evaluate",
        "spd_mt/seed0/spd",
        "spd_mt/seed0/evaluate",
        "apo_listwise/seed0/apo",
        "apo_listwise/seed0/evaluate",
        "report",
    }
    report = found.pop("report")
    assert {"tables/results", "figures/accuracy", "studies"} <= set(report.logged())
    assert report.config["seeds"] == [0] and set(report.config["arms"]) == {"base", "spd_mt", "apo_listwise"}
    given = [*words, f"runs_dir={folder.parent}"]
    cfg = config.load(SMOKE, given)
    for name, own in found.items():
        arm, _, stage = name.split("/")
        assert (own.group, own.job_type, own.exit_code) == ("smoke", stage, 0)
        assert own.tags == ["smoke", arm, "seed0", stage]
        settings = config.to_dict(cfg.resolved[arm])
        del settings["arms"]
        assert {key: own.config[key] for key in settings} == settings
        assert own.config["arm"] == arm and own.config["seed"] == 0 and own.config["stage"] == stage
    assert len(found["apo_listwise/seed0/apo"].curve("train/loss")) == 6


def test_every_teacher_spoke_of_every_study(folder: Path) -> None:
    texts = read_jsonl(stage(folder, "base", "collect") / "trajectories.jsonl")
    assert len({(t.study, t.teacher) for t in texts}) == len(texts) == 7 * 18


def test_a_second_run_trains_and_predicts_nothing(
    folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a stage was run again")

    monkeypatch.setattr(Trainer, "fit", refuse)
    monkeypatch.setattr(Trainer, "predict", refuse)
    before = (folder / "results.csv").read_text()
    given = [*words, f"runs_dir={folder.parent}", "wandb.mode=disabled"]
    run(config.load(SMOKE, given))
    assert (folder / "results.csv").read_text() == before


def test_the_report_holds_the_table_and_asks_for_nothing_outside(folder: Path) -> None:
    html = (folder / "report.html").read_text()
    assert "APO listwise" in html and "Majority vote" in html
    assert "http://" not in html.replace("http://www.w3.org", "") and 'src="http' not in html
