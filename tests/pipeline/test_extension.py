"""A new loss is one new file: dropped into a folder of the losses package, named in a YAML, run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apo_lightning import config, losses
from apo_lightning.registry import discover
from apo_lightning.run import run
from tests.pipeline.conftest import ROOT

HINGE = '''
"""Hinge on the reward margin."""

from dataclasses import dataclass

from apo_lightning.functional.logprobs import masked_mean
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import PreferenceLoss


@LOSSES.register("apo_hinge")
@dataclass(frozen=True, kw_only=True)
class ApoHinge(PreferenceLoss):
    def preference(self, seen):
        gaps = seen.rewards[:, :1] - seen.rewards[:, 1:]
        return masked_mean((1 - gaps).clamp(min=0), seen.counted, dim=-1)
'''


def test_a_loss_in_one_new_file_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "apo_hinge.py").write_text(HINGE)
    monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path / "extra")])
    discover(losses)
    try:
        experiment = tmp_path / "hinge.yaml"
        experiment.write_text(
            f"extends: [{ROOT}/experiments/smoke.yaml]\nname: hinge\n"
            "stages:\n  apo:\n    loss: {name: apo_hinge, beta: 0.5, nll_weight: 0.0, reduction: sum}\n"
        )
        given = [*words, "runs_dir=runs", "wandb.mode=disabled", "only=[apo_listwise]"]
        folder = run(config.load(experiment, given), given)
    finally:
        del losses.LOSSES["apo_hinge"]
    lines = (folder / "apo_listwise/seed0/apo/metrics.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert first["train/loss"] == 1.0  # every gap is 0 before the first update
    assert last["train/loss"] < 1.0
