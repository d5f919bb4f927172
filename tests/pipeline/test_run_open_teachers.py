"""From an open model's texts and recorded log-probs to a trained student, as a user does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.cli import commands
from apo_lightning.experiment.run import run
from apo_lightning.settings import ExperimentSettings
from apo_lightning.teachers.hf import Hf
from tests.helpers.stage_keys import begin_anew
from tests.pipeline.conftest import ROOT
from tests.unit.teachers.test_open_teachers import text_model

__all__ = ["text_model"]

FILE = """
extends: [{root}/experiments/base/nano.yaml, {root}/experiments/base/stages_nano.yaml]
name: open
data: {{name: phantom, train: 8, val: 4, test: 6}}
teachers:
  nano:
    kind: hf
    model: nano
    path: {home}/nano.jsonl
    decoding: {{max_new_tokens: 8}}
    log_probs: {{path: {home}/nano.sqlite, k: 4}}
  text:
    kind: hf
    model: {text}
    prompt: explain_report
    path: {home}/text.jsonl
    decoding: {{max_new_tokens: 8}}
    log_probs: {{path: {home}/text.sqlite, k: 4}}
arms:
  nll: {{label: Of texts, stages: [spd]}}
  kl:
    label: Of log-probs
    stages: [spd]
    set:
      pool.select: [nano]
      stages.spd.loss: {{name: spd_kl, kind: forward, temperature: 1.0, reduction: token_mean}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, text_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("open")
    (folder / "open.yaml").write_text(FILE.format(root=ROOT, home=folder, text=text_model))
    return folder


def settings(home: Path, words: list[str], *more: str) -> ExperimentSettings:
    begin_anew()
    return config.load(home / "open.yaml", [*words, f"runs_dir={home / 'runs'}", "wandb.mode=disabled", *more])


def manifest(home: Path, arm: str, stage: str) -> dict:
    return json.loads((home / "runs/open" / arm / "seed0" / stage / "manifest.json").read_text())


def test_before_anything_is_written(home: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status = commands.main(
        ["run", str(home / "open.yaml"), *words, f"runs_dir={home / 'early'}", "wandb.mode=disabled"]
    )
    assert status == 2 and "has written no texts yet" in capsys.readouterr().err.replace("\n", " ")


def test_collect_then_run(
    home: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """18 texts each; the run asks no teacher, and trains what it is to learn from the recorded rows."""
    assert commands.main(["collect", str(home / "open.yaml"), "--dry-run"]) == 0
    assert "nano: nano writes 18 of 18 texts" in capsys.readouterr().out
    assert not (home / "nano.jsonl").exists()
    assert commands.main(["collect", str(home / "open.yaml")]) == 0
    said = capsys.readouterr().out
    assert said.count("18 written, 0 were there") == 2 and "log-probs of 18 texts recorded" in said
    monkeypatch.setattr(Hf, "open", lambda self: pytest.fail("a run asks no teacher"))
    assert commands.main(["collect", str(home / "open.yaml")]) == 0
    assert "writes 0 of 18 texts" in capsys.readouterr().out
    folder = run(settings(home, words, "only=[kl]"))
    rows = [json.loads(line) for line in (folder / "kl/seed0/spd/metrics.jsonl").read_text().splitlines()]
    values = [row["train/divergence"] for row in rows if row.get("train/divergence") is not None]
    assert len(values) == 6 and 0 < values[-1] < values[0]
    assert manifest(home, "kl", "collect")["prompts"]["text"] == {"explain_report": 18}


def test_a_text_model_is_refused_for_log_probs_before_anything_is_trained(
    home: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    kl = "{name: spd_kl, kind: forward, temperature: 1.0, reduction: token_mean}"
    more = ["arms.kl.set={pool.select: [text]}", f"stages.spd.loss={kl}", "only=[kl]", f"runs_dir={home / 'refused'}"]
    assert commands.main(["run", str(home / "open.yaml"), *words, *more]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "teachers.text gives no log-probs that this student can learn from: its tokenizer is not the student's" in said
    )
    assert "spd_nll" in said and not list((home / "refused").glob("**/spd"))
