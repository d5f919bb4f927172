"""Recipes around the critique: another order, no SPD, a second round, context distillation; tiny, to the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from apo_lightning import config
from apo_lightning.experiment import checks
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.run import run
from apo_lightning.experiment.stage_files import read_preferred
from apo_lightning.types import Example
from tests.pipeline.conftest import ROOT

ARMS = ("sft_apo_10th", "base_sft_apo", "base_apo", "two_rounds", "context_js")
SMALL = [
    "data={name: phantom, train: 4, val: 2, test: 2}",
    "pool.select=[hedger, eager]",
    *(f"stages.{name}.steps=2" for name in ("spd", "apo", "sft", "context_distill")),
    *(f"stages.{name}.batch_studies=2" for name in ("spd", "apo", "sft", "context_distill")),
    "stages.self_distill={max_new_tokens: 8, batch_studies: 4}",
    "stages.self_distill_2={max_new_tokens: 6, sample: true}",
    "evaluate.max_new_tokens=4",
    "evaluate.batch_studies=2",
    "evaluate.likelihood_studies=2",
    "wandb.mode=disabled",
]
BASE_APO = "base_apo: {label: APO of the base student, stages: [self_distill, apo]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of five recipes of the embedded student: a random one writes nothing that could be learned."""
    place = tmp_path_factory.mktemp("recipes")
    path = place / "recipes_small.yaml"
    path.write_text(f"extends: [{ROOT}/experiments/recipes.yaml]\nname: recipes\narms:\n  {BASE_APO}\n")
    given = [*SMALL, f"runs_dir={place}/runs", f"only=[{','.join(ARMS)}]"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Context, "preference_examples", _noting(Context.preference_examples))
        return run(config.load(path, given))


SEEN: dict[tuple[str, str], dict[str, str]] = {}
"""Arm and the step before, to the t+ that a stage was shown of each study."""


def _noting(plain: Callable[..., list[Example]]) -> Callable[..., list[Example]]:
    def preference_examples(own: Context, *args: Any, **how: Any) -> list[Example]:
        found = plain(own, *args, **how)
        SEEN[own.arm, list(own.done)[-1]] = {each.study.id: each.branches[0].text for each in found}
        return found

    return preference_examples


def made(folder: Path, arm: str) -> dict[str, dict]:
    """Stage to the inputs of its key."""
    place = folder / arm / "seed0"
    return {path.name: yaml.safe_load((path / "config.yaml").read_text()) for path in place.iterdir()}


def keys(folder: Path, arm: str) -> dict[str, str]:
    place = folder / arm / "seed0"
    return {path.name: json.loads((path / "manifest.json").read_text())["inputs_sha256"] for path in place.iterdir()}


def test_the_critique_begins_with_the_student_after_sft(folder: Path) -> None:
    """So its reference is that student: rewards are 0 at its first step."""
    inputs, key = made(folder, "sft_apo_10th"), keys(folder, "sft_apo_10th")
    assert inputs["sft"]["from"] == key["spd"] and inputs["apo"]["from"] == key["sft"]
    assert inputs["sft"]["preferred"] == inputs["apo"]["preferred"] == key["self_distill"]
    first = json.loads((folder / "sft_apo_10th/seed0/apo/metrics.jsonl").read_text().splitlines()[0])
    assert first["train/reward_chosen"] == first["train/reward_rejected"] == 0
    assert inputs["evaluate"]["from"] == key["apo"] and inputs["evaluate"]["before"] == key["spd"]


@pytest.mark.parametrize("arm", ["base_apo", "base_sft_apo"])
def test_without_spd_the_base_student_writes_t_plus_and_is_the_reference(folder: Path, arm: str) -> None:
    inputs, key = made(folder, arm), keys(folder, arm)
    assert "spd" not in inputs and inputs["self_distill"]["from"] is None
    trained = [name for name in ("sft", "apo") if name in inputs]
    assert inputs[trained[0]]["from"] is None and inputs["evaluate"]["before"] is None
    assert inputs["evaluate"]["from"] == key[trained[-1]]
    assert len(pd.read_json(folder / arm / "seed0/evaluate/likelihoods.jsonl", lines=True)) > 0


def test_a_second_round_learns_from_t_plus_of_the_critiqued_student(folder: Path) -> None:
    inputs, key = made(folder, "two_rounds"), keys(folder, "two_rounds")
    assert inputs["self_distill_2"]["from"] == key["apo"] and inputs["apo_2"]["from"] == key["apo"]
    assert inputs["apo"]["preferred"] == key["self_distill"] and inputs["apo_2"]["preferred"] == key["self_distill_2"]
    assert inputs["evaluate"]["preferred"] == key["self_distill_2"] and inputs["evaluate"]["from"] == key["apo_2"]
    assert inputs["self_distill_2"]["stage"]["max_new_tokens"] == 6 and inputs["self_distill_2"]["stage"]["sample"]
    assert inputs["self_distill"]["stage"]["max_new_tokens"] == 8 and not inputs["self_distill"]["stage"]["sample"]


def test_a_second_round_writes_other_texts_and_is_shown_those(folder: Path) -> None:
    place = folder / "two_rounds/seed0"
    first, second = (read_preferred(place / name / "preferred.jsonl") for name in ("self_distill", "self_distill_2"))
    assert first.keys() == second.keys() and any(first[study].text != second[study].text for study in first)
    for step, written in (("self_distill", first), ("self_distill_2", second), ("apo_2", second)):
        shown = SEEN["two_rounds", step]
        assert shown and all(text == written[study].text for study, text in shown.items())


def test_arms_share_what_is_the_same(folder: Path) -> None:
    shared = [keys(folder, arm) for arm in ("sft_apo_10th", "two_rounds", "context_js")]
    assert len({own["spd"] for own in shared}) == 1 and len({own["self_distill"] for own in shared}) == 1
    bases = [keys(folder, arm) for arm in ("base_sft_apo", "base_apo")]
    assert bases[0]["self_distill"] == bases[1]["self_distill"] != shared[0]["self_distill"]
    assert bases[0]["sft"] != shared[0]["sft"]


def test_context_distillation_learns(folder: Path) -> None:
    inputs, key = made(folder, "context_js"), keys(folder, "context_js")
    own = inputs["context_distill"]
    assert own["from"] == key["spd"] and own["preferred"] == key["self_distill"]
    assert own["reads"]["name"] == "reconcile" and own["stage"]["loss"]["kind"] == "jensen_shannon"
    lines = (folder / "context_js/seed0/context_distill/metrics.jsonl").read_text().splitlines()
    losses = [row["train/loss"] for row in map(json.loads, lines) if "train/loss" in row]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)


def test_reports_show_every_stage(folder: Path) -> None:
    shown = (folder / "report.md").read_text()
    for name in ("sft", "context_distill", "self_distill_2", "apo_2"):
        assert name in shown
    table = pd.read_csv(folder / "results.csv")
    assert set(table[table.kind == "arm"].arm) == set(ARMS)
    assert {"preferred", "preferred_2"} <= set(table[table.kind == "baseline"].arm)


def test_the_experiment_builds_and_has_its_recipes() -> None:
    cfg = config.load(ROOT / "experiments/recipes.yaml")
    assert checks.check_arms({"two_rounds": cfg.resolved["two_rounds"]}, here=False) == []
    spd = cfg.resolved["spd_mt"].stages.spd
    gentle, tenth, least = (cfg.resolved[name].stages for name in ("gentle_sft", "sft_apo_10th", "sft_apo_200th"))
    assert gentle.spd.steps * 3 == spd.steps and gentle.spd.optim.lr * 3 == pytest.approx(spd.optim.lr, rel=0.02)
    assert tenth.apo.optim.lr * 10 == pytest.approx(spd.optim.lr) == pytest.approx(least.apo.optim.lr * 200)
    assert {cfg.resolved[name].stages.context_distill.loss["kind"] for name in ("context_forward", "context_js")} == {
        "forward",
        "jensen_shannon",
    }
