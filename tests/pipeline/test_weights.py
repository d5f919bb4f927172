"""Weights, the cheapest teachers and the student's own words in a whole run: what is filed, what depends on what."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from apo_lightning import config
from apo_lightning.cli import commands
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import checks
from apo_lightning.experiment.run import run
from apo_lightning.experiment.steps.generate import Generate
from apo_lightning.files.jsonlines import read as read_jsonl
from apo_lightning.settings import SelfDistillSettings
from apo_lightning.types import Answer, Example, Study, Trajectory
from tests.helpers.stage_keys import changed, keys_of
from tests.pipeline.conftest import ROOT, Drop

ARMS = """
extends: [{root}/experiments/smoke.yaml]
name: weighed
only: [routed, scored, cheapest, retold, consensus]
pool: {{prune: {{loss: 0.2, by: money, prices: {prices}}}}}
arms:
  routed:
    label: Weighed by finding
    stages: [spd, self_distill, apo]
    set: {{pool.weights: {{name: router, rejected: inverse}}}}
  scored: {{label: Weighed by likelihood, stages: [spd], set: {{pool.weights: {{name: val_likelihood}}}}}}
  cheapest: {{label: The cheapest, stages: [spd], set: {{pool.select: cheapest}}}}
  retold:
    label: Vote retold
    stages: [self_distill]
    set: {{stages.self_distill.positive: {{name: majority_retold}}}}
  consensus:
    label: By consensus
    stages: [self_distill]
    set:
      stages.self_distill.positive: {{name: consensus}}
      stages.self_distill.sample: true
      stages.self_distill.samples: 3
"""
NAMES = ("eager", "cautious", "verbose", "terse", "sided", "hedger", "refuser")
PRICES = {name: {"input": 1.0, "output": 2.0, "seconds": 3.0 + k} for k, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def folder(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("weighed")
    (home / "weighed.yaml").write_text(ARMS.format(root=ROOT, prices=json.dumps(PRICES)))
    given = [*words, f"runs_dir={home / 'runs'}", "wandb.mode=disabled", "stages.spd.steps=2", "stages.apo.steps=2"]
    return run(config.load(home / "weighed.yaml", [*given, "evaluate.likelihood.form=off"]))


def stage(folder: Path, arm: str, name: str) -> Path:
    return folder / arm / "seed0" / name


def test_weights_lie_beside_what_they_were_used_for(folder: Path) -> None:
    rows = read_jsonl(stage(folder, "routed", "weigh") / "weights.jsonl")
    assert len(rows) == 12  # training and validation studies: nothing is taught of the others
    for row in rows:
        assert list(row["taught"]) == list(NAMES) == list(row["rejected"])
        assert all(row["taught"][name] * row["rejected"][name] == pytest.approx(1) for name in NAMES)
    assert len({row["taught"]["eager"] for row in rows}) > 1  # by study
    scored = read_jsonl(stage(folder, "scored", "weigh") / "weights.jsonl")
    assert sum(scored[0]["taught"].values()) == pytest.approx(7) and scored[0]["taught"] == scored[-1]["taught"]
    made = json.loads((stage(folder, "routed", "weigh") / "manifest.json").read_text())
    assert made["weights"] == {"name": "router", "rejected": "inverse", "smoothing": 1.0, "power": 1.0}
    assert "weigh" in json.loads((stage(folder, "routed", "spd") / "manifest.json").read_text())["made_of"]


def test_an_arm_without_a_strategy_has_no_such_step(folder: Path) -> None:
    assert not stage(folder, "cheapest", "weigh").exists() and not stage(folder, "retold", "weigh").exists()


def test_what_the_cheapest_saved_is_said(folder: Path) -> None:
    """Eight training and four validation studies; of the latter all teachers were asked, to choose among them."""
    [row] = json.loads((folder / "pruning.json").read_text())
    kept, left = len(row["teachers"]), 7 - len(row["teachers"])
    assert row["arm"] == "cheapest" and row["validation_studies"] == 4 and left > 0
    assert row["whole"]["requests"] == 12 * 7 and row["saved"]["requests"] == 8 * left
    assert row["paid"]["requests"] == 8 * kept + 4 * 7
    gone = sum(own["seconds"] for name, own in PRICES.items() if name not in row["teachers"])
    assert row["saved"]["seconds"] == pytest.approx(8 * gone)
    assert 0 < row["saved"]["money"] < row["whole"]["money"] and len(row["added"]) == 7
    heard = json.loads((stage(folder, "cheapest", "spd") / "manifest.json").read_text())["filtered"]["kept"]
    assert heard <= 8 * kept
    assert "hears" in (folder / "report.html").read_text()


def test_the_vote_is_told_by_the_student_or_stays_as_it_is(folder: Path) -> None:
    rows = read_jsonl(stage(folder, "retold", "self_distill") / "preferred.jsonl")
    made = json.loads((stage(folder, "retold", "self_distill") / "manifest.json").read_text())
    assert len(rows) == 18 and made["positive"] == {"name": "majority_retold"}
    frame = pd.read_csv(folder / "results.csv").set_index(["arm", "metric", "finding"]).value
    vote = frame["majority_vote", "accuracy", "mean"]
    assert frame["preferred_majority_retold", "accuracy", "mean"] == vote  # whatever an untrained student writes
    assert made["filtered"]["in_fixed_words"] == 18


def test_consensus_keeps_its_samples(folder: Path) -> None:
    made = json.loads((stage(folder, "consensus", "self_distill") / "manifest.json").read_text())
    rows = read_jsonl(stage(folder, "consensus", "self_distill") / "preferred.jsonl")
    assert made["positive"] == {"name": "consensus"} and made["decoding"]["sample"] is True
    assert all(len(row["samples"]) == 3 for row in rows)


def keys(**pool: Any) -> dict[str, str]:
    words = [f"pool.{key}={json.dumps(value)}" for key, value in pool.items()]
    cfg = config.load(ROOT / "experiments/smoke.yaml", ["only=[apo_listwise]", *words])
    return keys_of(config.resolve_arm(cfg, "apo_listwise"))


def test_what_depends_on_weights() -> None:
    plain = keys()
    assert keys(weights={"name": "user"}) == plain and "weigh" not in plain
    assert keys(prune={"loss": 0.5}) == plain  # nobody asks for the cheapest
    by = keys(weights={"name": "val_accuracy"})
    assert changed(plain, by) == {"spd", "self_distill", "apo", "evaluate"} and by["collect"] == plain["collect"]
    other = keys(weights={"name": "val_accuracy", "power": 2.0})
    assert changed(by, other) == {"weigh", "spd", "self_distill", "apo", "evaluate"}


def refused(loss: str, **pool: Any) -> str:
    words = [f"pool.{key}={json.dumps(value)}" for key, value in pool.items()]
    given = ["only=[apo_listwise]", f"stages.apo.loss.name={loss}", *words]
    with pytest.raises(ConfigError) as raised:
        checks.check_arms(config.load(ROOT / "experiments/smoke.yaml", given).resolved)
    return str(raised.value)


def test_a_loss_that_cannot_weigh_is_refused() -> None:
    said = refused("dpo", weights={"name": "router"})
    assert "stages.apo.loss 'dpo' takes every teacher of a weight above 0 alike, and pool.weights 'router'" in said
    given = ["only=[apo_listwise]", "stages.apo.loss.name=dpo", "pool.weights={name: router, rejected: uniform}"]
    checks.check_arms(config.load(ROOT / "experiments/smoke.yaml", given).resolved)


def test_the_page_s_strategy_for_weights(drop: Drop, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """docs/adding.md: one file, named in `pool.weights.name`."""
    drop("by_length")
    monkeypatch.chdir(tmp_path)
    quick = ["stages.spd.steps=1", "evaluate.likelihood.form=off", "evaluate.likelihood.in_place=0"]
    chosen = ["only=[spd_mt]", "wandb.mode=disabled", "pool.weights.name=by_length", *quick]
    assert commands.main(["run", str(ROOT / "experiments/smoke.yaml"), *words, *chosen]) == 0
    said: dict[str, dict[str, str]] = {}
    for row in read_jsonl(Path("runs/smoke/spd_mt/seed0/collect/trajectories.jsonl")):
        said.setdefault(row["study"], {})[row["teacher"]] = row["text"]
    for row in read_jsonl(Path("runs/smoke/spd_mt/seed0/weigh/weights.jsonl")):
        words_of = {name: len(text.split()) for name, text in said[row["study"]].items()}
        assert row["taught"] == {name: pytest.approx(1 / words_of[name]) for name in NAMES}


@pytest.mark.parametrize("shown", [None, {"s": {"vote 1": "No edema."}}])
def test_the_student_reads_what_it_is_shown_instead_of_the_teachers(shown: dict | None, tmp_path: Path) -> None:
    studies = [Study("s", "s", "train", (), {}), Study("t", "t", "train", (), {})]
    heard = {study.id: {"a": Trajectory(study.id, "a", f"Edema in {study.id}.")} for study in studies}
    asked: list[Example] = []

    def answers(writer: Any, given: list[Example], *rest: Any) -> dict[str, list[Answer]]:
        asked.extend(given)
        return {example.study.id: [Answer("No edema.")] for example in given}

    own = SimpleNamespace(
        cfg=SimpleNamespace(
            stages=SimpleNamespace(self_distill=SelfDistillSettings(batch_studies=1, max_new_tokens=4))
        ),
        data=SimpleNamespace(studies=lambda split: studies if split == "train" else []),
        heard=heard,
        seed=0,
        writing=lambda made_by: None,
        collator=lambda student, prompt: SimpleNamespace(cut={}, control_texts=lambda examples: {}),
        answers=answers,
        newest=lambda artefact: None,
    )
    Generate(own, "self_distill")._by_student(SimpleNamespace(path=tmp_path), shown)
    read = {example.study.id: [text.text for text in example.context] for example in asked}
    assert read == ({"s": ["No edema."]} if shown else {"s": ["Edema in s."], "t": ["Edema in t."]})
