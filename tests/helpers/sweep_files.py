"""A sweep file over the small experiment of `fakes`, and a run that only writes results."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import yaml

COMMAND = [
    "${env}",
    "python",
    "-m",
    "apo_lightning",
    "run",
    "experiments/small.yaml",
    "only=[apo]",
    "${args_no_hyphens}",
]
BETAS = {"stages.apo.loss.beta": {"values": [0.1, 1.0]}}


def sweep_file(name: str = "beta", **changes: Any) -> Path:
    """``experiments/sweeps/<name>.yaml`` of the working folder: a grid over two betas, but for ``changes``."""
    spec = {"command": COMMAND, "method": "grid", "parameters": BETAS} | changes
    path = Path(f"experiments/sweeps/{name}.yaml")
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return path


def write_results(cfg: Any) -> None:
    """As a run that comes to an accuracy of beta, 0.1 below and above it for two seeds."""
    beta, folder = cfg.stages.apo.loss["beta"], Path(cfg.runs_dir) / cfg.name
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        ("apo", "APO", "arm", seed, metric, finding, value)
        for seed, value in ((0, beta - 0.1), (1, beta + 0.1))
        for metric in ("accuracy", "balanced_accuracy", "f1")
        for finding in ("mean", "edema")
    ]
    rows.append(("eager", "eager", "teacher", 0, "accuracy", "mean", 0.9))
    columns = ["arm", "label", "kind", "seed", "metric", "finding", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "results.csv", index=False)


def put_run(monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], None]) -> None:
    """Let trials call ``run`` in place of a real one."""
    fake = ModuleType("apo_lightning.experiment.run")
    fake.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apo_lightning.experiment.run", fake)
    monkeypatch.setattr("apo_lightning.experiment.run", fake, raising=False)
