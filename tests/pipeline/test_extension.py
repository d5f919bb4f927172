"""A new loss or data set is one new file: dropped into a folder of its package, named, run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

import data_modules
from apo_lightning import config, losses
from apo_lightning.cli import commands
from apo_lightning.experiment.run import run
from apo_lightning.registry import discover
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
        folder = run(config.load(experiment, given))
    finally:
        del losses.LOSSES["apo_hinge"]
    lines = (folder / "apo_listwise/seed0/apo/metrics.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert first["train/loss"] == 1.0  # every gap is 0 before the first update
    assert last["train/loss"] < 1.0


def test_the_data_set_of_adding_md_is_one_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The very code that the documentation shows, over a table with one row that cannot be used."""
    text = (ROOT / "docs/adding.md").read_text()
    code = re.search(r'```python\n("""A hospital.*?)```', text, re.S)
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra/ward7.py").write_text(code.group(1))
    lines = ["file,pid,edema,pneumonia"] + [f"{i}.png,p{i // 2},{i % 2},{'' if i == 3 else 1}" for i in range(30)]
    (tmp_path / "index.csv").write_text("\n".join([*lines, "30.png,,1,1"]))
    for i in range(30):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(data_modules, "__path__", [*data_modules.__path__, str(tmp_path / "extra")])
    discover(data_modules)
    try:
        assert commands.main(["data", "summary", "ward7", f"root={tmp_path}"]) == 0
    finally:
        del data_modules.DATA["ward7"]
    said = capsys.readouterr().out
    assert re.search(r"train +22 +11 +22", said), said  # 15 patients of two studies: 2 tested on, 2 of 13 validate
    assert "1 unusable rows" in said and "index.csv:32: column 'pid' is empty" in said
