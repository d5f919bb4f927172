"""costs.csv: what the stages of arms and seeds cost, for whoever compares arms by it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from apo_lightning.experiment import costs
from tests.helpers import fake_run


def stage(run: Path, arm: str, seed: int, name: str, stored: str, **facts: object) -> None:
    """A stage in the store, and the link of an arm to it."""
    folder = run.parent / "store" / stored
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(facts))
    link = run / arm / f"seed{seed}" / name
    link.unlink(missing_ok=True)
    link.symlink_to(folder)


def test_a_line_an_arm_seed_and_stage(tmp_path: Path) -> None:
    """Two arms share what their seed 0 learned first; an old manifest knows no time; of further sets those answered."""
    run = fake_run.make(tmp_path, arms=("sft", "dpo"), seeds=(0, 1))
    stage(run, "sft", 0, "spd", "spd-1", seconds=61.5, studies=32, tokens=900)
    stage(run, "dpo", 0, "spd", "spd-1", seconds=61.5, studies=32, tokens=900)
    stage(run, "dpo", 1, "spd", "spd-2", finished="2026-01-01")
    stage(run, "sft", 0, "evaluate_scanner", "evaluate_scanner-1", seconds=4)
    (run / "sets" / "scanner").mkdir(parents=True)
    frame = pd.read_csv(costs.write(run))
    assert list(frame.columns) == list(costs.COLUMNS)
    learned = frame[frame.stage == "spd"].set_index(["arm", "seed"])
    assert learned.stored[("sft", 0)] == learned.stored[("dpo", 0)] == "spd-1"
    assert learned.seconds[("sft", 0)] == 61.5 and learned.tokens[("sft", 0)] == 900
    assert pd.isna(learned.seconds[("dpo", 1)])
    once = frame.drop_duplicates("stored")
    assert once[once.stage == "spd"].seconds.sum() == 61.5, "the run spent it once"
    assert frame[frame.stage == "evaluate_scanner"].seconds.tolist() == [4]


def test_nothing_to_tell(tmp_path: Path) -> None:
    assert pd.read_csv(costs.write(tmp_path)).empty
