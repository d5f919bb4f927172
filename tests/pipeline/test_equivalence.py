"""Settings that must not matter do not: accumulation against batch size, one process against two."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.pipeline.conftest import ROOT


def adapter(words: list[str], runs: Path, *more: str) -> dict:
    """Trained SPD adapter of a run in a process of its own."""
    given = [*words, f"runs_dir={runs}", "only=[spd_mt]", "wandb.mode=disabled", *more]
    subprocess.run(
        [sys.executable, "-m", "apo_lightning", "run", "smoke", *given], check=True, cwd=ROOT, capture_output=True
    )
    return load_file(next((runs / "smoke/spd_mt/seed0/spd/student/adapters/0").glob("*.safetensors")))


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
