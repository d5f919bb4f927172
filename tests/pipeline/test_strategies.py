"""Strategies for t+ in a whole run: what is filed, what is shared, what the table says, and what a run depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning import config
from apo_lightning.cli import commands
from apo_lightning.experiment import preferred
from apo_lightning.experiment.run import run
from apo_lightning.files.jsonlines import read as read_jsonl
from apo_lightning.hashing import sources
from apo_lightning.positives.base import Picked
from apo_lightning.teachers.recorded import read_jsonl as read_texts
from tests.helpers.evidence import evidence
from tests.helpers.stage_keys import begin_anew, changed, keys_of
from tests.pipeline.conftest import ROOT, Drop

ARMS = """
extends: [{root}/experiments/smoke.yaml]
name: positives
only: [student, router, majority]
arms:
  student: {{label: By student, stages: [self_distill]}}
  router:
    label: By router
    stages: [self_distill, apo]
    set:
      stages.apo.loss: {{name: sft, reduction: token_mean}}
      stages.self_distill.positive: {{name: router}}
  majority: {{label: By vote, stages: [self_distill], set: {{stages.self_distill.positive: {{name: majority}}}}}}
"""


@pytest.fixture(scope="module")
def folder(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("positives")
    (home / "positives.yaml").write_text(ARMS.format(root=ROOT))
    given = [*words, f"runs_dir={home / 'runs'}", "wandb.mode=disabled", "stages.apo.steps=2"]
    return run(config.load(home / "positives.yaml", given))


def stage(folder: Path, arm: str, name: str = "self_distill") -> Path:
    return folder / arm / "seed0" / name


def test_a_routed_text_is_a_teachers_and_says_whose(folder: Path) -> None:
    rows = read_jsonl(stage(folder, "router") / "preferred.jsonl")
    said = {(t.study, t.teacher): t.text for t in read_texts(stage(folder, "router", "collect") / "trajectories.jsonl")}
    assert len(rows) == 18 and {row["split"] for row in rows} == {"train", "val", "test"}
    assert all(row["text"] == said[row["study"], row["from"]] and row["cut"] is False for row in rows)
    made = json.loads((stage(folder, "router") / "manifest.json").read_text())
    assert made["positive"] == {"name": "router", "smoothing": 1.0} and sum(made["from"].values()) == 18
    assert "from" not in read_jsonl(stage(folder, "student") / "preferred.jsonl")[0]


def test_copies_of_the_routed_text_are_no_negatives(folder: Path) -> None:
    """SFT learns from t+ alone; its stream still counts them."""
    made = json.loads((stage(folder, "router", "apo") / "manifest.json").read_text())
    assert made["filtered"]["copies"] == made["studies"] == 8


def test_the_table_has_a_row_for_each_strategy(folder: Path) -> None:
    frame = pd.read_csv(folder / "results.csv")
    rows = frame[(frame.kind == "baseline") & (frame.metric == "accuracy") & (frame.finding == "mean")]
    labels = dict(zip(rows.arm, rows.label, strict=True))
    assert labels["preferred"] == "t+ (reads the teachers)"
    assert labels["preferred_router"] == "t+ by router (reads the teachers)"
    assert list(labels)[:3] == ["preferred", "preferred_router", "preferred_majority"]
    value = rows.set_index("arm").value
    assert value["preferred_majority"] == value["majority_vote"]


def keys(positive: dict, without: str = "", **more: object) -> dict[str, str]:
    """Hashes of all stages of the smoke experiment but for one that is left out, without running any."""
    words = [f"{key.replace('__', '.')}={value}" for key, value in more.items()]
    cfg = config.resolve_arm(config.load(ROOT / "experiments/smoke.yaml", words), "apo_listwise")
    cfg.arms["apo_listwise"].stages = [name for name in cfg.arms["apo_listwise"].stages if name != without]
    cfg.stages.self_distill.positive = positive
    return keys_of(cfg)


ROUTER = {"name": "router", "smoothing": 1.0}


def test_t_plus_depends_on_its_strategy_and_on_nothing_that_it_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = keys(ROUTER)
    after = {"self_distill", "apo", "evaluate"}
    assert changed(plain, keys({"name": "student"})) == after
    assert changed(plain, keys({"name": "router", "smoothing": 2.0})) == after
    assert changed(plain, keys(ROUTER, seeds="[3]")) == {"spd", "apo", "evaluate"}
    assert changed(plain, keys(ROUTER, stages__self_distill__max_new_tokens=5)) == set()
    assert changed(plain, keys(ROUTER, evaluate__findings="[edema]")) == after
    written = keys({"name": "student"})
    assert changed(written, keys({"name": "student"}, evaluate__findings="[edema]")) == {"evaluate"}


def test_weights_of_teachers_change_nothing_of_what_the_student_reads() -> None:
    """Trials of a sweep over the weights of a critique take one t+ from the store."""
    plain, weighed = (keys({"name": "student"}, "spd", teachers__eager__weight=w) for w in (1.0, 0.25))
    assert changed(plain, weighed) == {"apo", "evaluate"}


@pytest.mark.parametrize("name", ["router", "student"])
@pytest.mark.parametrize("file", ["positives/router.py", "positives/reliability.py", "text/labeler.py"])
def test_an_edited_strategy_is_made_anew(monkeypatch: pytest.MonkeyPatch, name: str, file: str) -> None:
    """The others are not; the reader of texts is part of all."""
    section = ROUTER if name == "router" else {"name": name}
    plain, path = keys(section), ROOT / "apo_lightning" / file
    read = sources.source
    monkeypatch.setattr(sources, "source", lambda at: read(at) + (b"\nEDITED = 1\n" if at == path else b""))
    begin_anew()
    assert ("self_distill" in changed(plain, keys(section))) == (name == "router" or file.startswith("text"))
    begin_anew()


def test_a_strategy_is_one_new_file(drop: Drop) -> None:
    """The very code that docs/adding.md shows; named on the command line, it is in the label of its row."""
    drop("longest")
    given = ["stages.self_distill.positive.name=longest", "only=[apo_listwise]"]
    cfg = config.resolve_arm(config.load(ROOT / "experiments/smoke.yaml", given), "apo_listwise")
    seen = evidence({"s": {"a": "Edema.", "b": "No edema.", "c": "I cannot interpret images."}, "t": {"a": ""}})
    assert preferred.strategy(cfg)(seen) == {"s": Picked("No edema.", "b")}
    assert cfg.arms["apo_listwise"].label.endswith("[self_distill.positive.name=longest]")


def test_what_cannot_be_is_said_before_training(capsys: pytest.CaptureFixture) -> None:
    here = ["run", str(ROOT / "experiments/smoke.yaml"), "wandb.mode=disabled", "runs_dir=runs"]
    assert commands.main([*here, "stages.self_distill.positive.name=ruoter"]) != 0
    assert "No strategy for t+ is named 'ruoter'" in (said := capsys.readouterr().err) and "router" in said
    assert commands.main([*here, "stages.self_distill.positive={name: router, smoothing: 0}"]) != 0
    assert "stages.self_distill.positive.smoothing must be > 0, got 0" in capsys.readouterr().err
    assert commands.main([*here, "stages.self_distill.positive={name: router, smooth: 1}"]) != 0
    assert "smoothing" in capsys.readouterr().err
    assert not Path("runs/smoke/results.csv").exists()
