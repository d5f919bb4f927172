"""What `smoke` and seed 0 of `ablation_apo` reach, and which settings their stages are filed under: to the last digit.

A change that is not meant to change a result must leave both alone. ``pinned.json`` was written by version 0.10.0 on a
CPU with AVX-512; another instruction set rounds otherwise, and there only the keys are compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.pipeline.conftest import ROOT

PINNED = json.loads((Path(__file__).parent / "pinned.json").read_text())


def ran(name: str, runs: Path, *words: str) -> Path:
    """The run folder of an experiment as a user starts it."""
    command = [sys.executable, "-m", "apo_lightning", "run", name, f"runs_dir={runs}", "wandb.mode=disabled", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert done.returncode == 0, done.stdout + done.stderr
    return runs / name


def accuracies(folder: Path) -> dict[str, dict[str, float]]:
    """Row of the table to finding to accuracy."""
    table = pd.read_csv(folder / "results.csv")
    table = table[(table.metric == "accuracy") & (table.seed == 0)]
    return {arm: dict(zip(rows.finding, rows.value, strict=True)) for arm, rows in table.groupby("arm", sort=False)}


def keys(folder: Path) -> dict[str, dict[str, str]]:
    """Arm to stage to the key of its settings, which no edit of source changes."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*/seed0/*")):
        manifest = json.loads((path / "manifest.json").read_text())
        found.setdefault(path.parts[-3], {})[path.name] = manifest["settings_sha256"][:12]
    return found


def compare(folder: Path, pinned: dict[str, Any]) -> None:
    assert keys(folder) == pinned["keys"]
    if torch.backends.cpu.get_cpu_capability() == PINNED["capability"]:
        assert accuracies(folder) == pinned["accuracies"]


def test_smoke_reaches_what_it_reached(tmp_path: Path) -> None:
    compare(ran("smoke", tmp_path / "runs"), PINNED["smoke"])


@pytest.mark.slow
def test_smoke_in_two_processes_reaches_what_it_reached(tmp_path: Path) -> None:
    two = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    compare(ran("smoke", tmp_path / "runs", *two), PINNED["smoke in two processes"])


@pytest.mark.slow
def test_ablation_apo_reaches_what_it_reached(tmp_path: Path) -> None:
    compare(ran("ablation_apo", tmp_path / "runs", "seeds=[0]"), PINNED["ablation_apo"])
