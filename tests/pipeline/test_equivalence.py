"""Settings that must not matter do not: accumulation against batch size, one process against two, ways of scoring."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.pipeline.conftest import ROOT


def adapter(words: list[str], runs: Path, *more: str, arm: str = "spd_mt") -> dict:
    """Adapter that the last stage of an arm trained, in a process of its own."""
    given = [*words, f"runs_dir={runs}", f"only=[{arm}]", "wandb.mode=disabled", *more]
    subprocess.run(
        [sys.executable, "-m", "apo_lightning", "run", "smoke", *given], check=True, cwd=ROOT, capture_output=True
    )
    stage, place = ("spd", 0) if arm == "spd_mt" else ("apo", 1)
    return load_file(next((runs / f"smoke/{arm}/seed0/{stage}/student/adapters/{place}").glob("*.safetensors")))


def logged(runs: Path, arm: str = "spd_mt", stage: str = "spd") -> list[dict]:
    """What a stage logged at each step."""
    return [json.loads(line) for line in (runs / f"smoke/{arm}/seed0/{stage}/metrics.jsonl").read_text().splitlines()]


def assert_same_log(rows: list[dict], others: list[dict], how: str) -> None:
    assert [row.keys() for row in rows] == [row.keys() for row in others], how
    for row, other in zip(rows, others, strict=True):
        for key, value in row.items():
            same = value is None if other[key] is None else other[key] == pytest.approx(value, rel=0.01, abs=0.01)
            assert same, (how, row["step"], key, value, other[key])


def worst(a: dict, b: dict) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.slow
def test_batch_size_accumulation_and_processes_are_one_thing(words: list[str], tmp_path: Path) -> None:
    """Four studies a step as 4x1, 2x2 and two processes of 2; the step itself is far larger than the differences."""
    whole = adapter(words, tmp_path / "a", "stages.spd.batch_studies=4")
    split = adapter(words, tmp_path / "b", "stages.spd.batch_studies=2", "stages.spd.accumulate=2")
    two = ("stages.spd.batch_studies=2", "trainer.devices=2", "trainer.accelerator=cpu")
    ddp = adapter(words, tmp_path / "c", *two, "trainer.strategy=ddp")
    sharded = adapter(words, tmp_path / "d", *two, "trainer.strategy=fsdp2")
    moved = max(float(v.abs().max()) for k, v in whole.items() if "lora_B" in k)
    assert moved > 1e-3
    for other in (split, ddp, sharded):
        assert worst(whole, other) < 0.05 * moved
    for place in "bcd":
        assert_same_log(logged(tmp_path / "a"), logged(tmp_path / place), place)


@pytest.mark.slow
def test_ways_of_scoring_train_one_adapter(words: list[str], tmp_path: Path) -> None:
    """SPD (a loss with a known slope) and APO (coupled) end at one adapter, whatever holds the activations. Sharded
    processes meet studies with different numbers of chunks, so this also shows that they keep pace."""
    common = ("stages.spd.batch_studies=4", "stages.apo.batch_studies=4")
    whole = adapter(words, tmp_path / "a", *common, "student.scorer.mode=joint", arm="apo_listwise")
    moved = max(float(v.abs().max()) for k, v in whole.items() if "lora_B" in k)
    assert moved > 1e-4
    two = ("stages.spd.batch_studies=2", "stages.apo.batch_studies=2", "trainer.devices=2", "trainer.accelerator=cpu")
    ways = {
        "branchwise": (*common, "student.scorer.mode=branchwise", "student.scorer.rows=3"),
        "separate": (*common, "student.scorer.mode=separate"),
        "checkpointed": (*common, "student.scorer.mode=joint", "student.gradient_checkpointing=true"),
        "ddp": (*two, "student.scorer.mode=branchwise", "trainer.strategy=ddp"),
        "sharded": (*two, "student.scorer.mode=branchwise", "student.scorer.rows=3", "trainer.strategy=fsdp2"),
        "sharded, checkpointed": (
            *two,
            "student.scorer.mode=joint",
            "student.gradient_checkpointing=true",
            "trainer.strategy=fsdp2",
        ),
    }
    for name, how in ways.items():
        other = adapter(words, tmp_path / name.replace(", ", "-"), *how, arm="apo_listwise")
        assert worst(whole, other) < 0.05 * moved, name
        rows = (logged(tmp_path / place, "apo_listwise", "apo") for place in ("a", name.replace(", ", "-")))
        assert_same_log(*rows, name)
