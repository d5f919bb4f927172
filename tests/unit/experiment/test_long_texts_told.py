"""Teachers whose texts are longer than the student is taught: told once, with the limit that would do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from apo_lightning import config, leader
from apo_lightning.experiment import long_texts
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.models.processor import load_processor
from apo_lightning.reports import long_texts as told
from apo_lightning.types import Trajectory
from data_modules import DATA
from tests.pipeline.conftest import ROOT

SHORT, LONG = "there is edema", "there is edema and there is no pleural effusion"


@pytest.fixture
def own(tmp_path: Path) -> Context:
    """20 training studies; "brief" wrote 20 short texts, "wordy" 18 short and 2 long, "verbose" 17 short and 3 long."""
    cfg = config.load(ROOT / "experiments/ablation_apo.yaml", ["student.max_branch_tokens=5"])
    data = DATA["phantom"](train=20, val=2, test=2)
    made = Context(cfg.resolved["spd_mt"], "spd_mt", 0, data, RunFolder(tmp_path, "x"))
    made.done["collect"] = SimpleNamespace(path=tmp_path / "collect")
    long = {"brief": 0, "wordy": 2, "verbose": 3}
    studies = [*data.studies("train"), *data.studies("val")]
    made.trajectories = [
        Trajectory(study.id, name, LONG if i < many or study.split == "val" else SHORT)
        for name, many in long.items()
        for i, study in enumerate(studies)
    ]
    return made


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(leader, "warn", said.append)
    long_texts.begin()
    return said


def test_more_than_a_tenth_of_a_teachers_training_texts_is_told_once(own: Context, heard: list[str]) -> None:
    tokens = load_processor("nano", 1, 10**6).tokenizer
    longest = len(tokens(LONG)["input_ids"]) + 1
    long_texts.tell(own)
    long_texts.tell(own)
    assert heard == [
        "    Taught without their ends, since they are longer than student.max_branch_tokens: verbose 15% of 20 texts "
        f"(limit 5 tokens; {longest} are enough for all)."
    ], "two of twenty are a tenth, and no more"
    counts = {"texts": 20, "cut": 3, "limit": 5, "enough_95": longest, "enough": longest}
    assert long_texts.facts() == {told.KEY: {"verbose": counts}}


def test_an_arm_that_learns_nothing_and_another_limit_are_told_apart(own: Context, heard: list[str]) -> None:
    base = Context(own.cfg, "base", 0, own.data, own.folder)
    base.done, base.trajectories = own.done, own.trajectories
    base.cfg.arms["base"].stages = []
    long_texts.tell(base)
    assert not heard
    own.cfg.student.max_branch_tokens = 64
    long_texts.tell(own)
    assert not heard and long_texts.facts() == {told.KEY: {}}


def test_which_limits_are_enough() -> None:
    """Of 40 texts 38 are 95 %: the 38th in order of length."""
    assert long_texts.counts(list(range(1, 41)), 30) == {
        "texts": 40,
        "cut": 10,
        "limit": 30,
        "enough_95": 38,
        "enough": 40,
    }


@pytest.mark.parametrize("odd", [None, 3, {"a": 3}, {"a": {"texts": 0}}, {"a": {"texts": "many"}}])
def test_an_odd_manifest_says_nothing(odd: object) -> None:
    assert told.warnings({told.KEY: odd}) == [] == told.warnings({})


def test_the_run_keeps_it_for_its_report(own: Context, tmp_path: Path) -> None:
    from apo_lightning import reports
    from tests.helpers import fake_run

    long_texts.tell(own)
    run = fake_run.make(tmp_path / "fake", arms=("sft",), seeds=(0,), manifest=long_texts.facts())
    reports.write(run)
    for name in ("report.md", "report.html"):
        assert "verbose 15% of 20 texts" in (run / name).read_text("utf-8")
