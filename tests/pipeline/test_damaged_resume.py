"""An interrupted stage whose checkpoints and parts are damaged ends with the numbers of an undisturbed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apo_lightning.cli import commands
from apo_lightning.experiment.jsonl_logger import JsonlLogger
from apo_lightning.experiment.prediction_files import PredictionFiles
from tests.pipeline.conftest import ROOT


def command(words: list[str], runs: Path) -> list[str]:
    given = [*words, f"runs_dir={runs}", "only=[apo_listwise]", "wandb.mode=disabled", "stages.spd.steps=5"]
    return ["run", str(ROOT / "experiments/smoke.yaml"), *given, "student.adapter.dropout=0.2"]


class Interrupted(Exception):
    """Stands for a kill."""


def interrupt(monkeypatch: pytest.MonkeyPatch, cls: type, hook: str, stage: str, count: int) -> None:
    plain, calls = getattr(cls, hook), []

    def deadly(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        writes = getattr(self, "path", None) or self.parts
        calls.extend([1] if f"/{stage}-" in str(writes) else [])
        if calls and len(calls) == count:
            raise Interrupted

    monkeypatch.setattr(cls, hook, deadly)


def run_until(words: list[str], runs: Path, cls: type, hook: str, stage: str, count: int) -> Path:
    """Where the interrupted stage lies."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, cls, hook, stage, count)
        with pytest.raises(Interrupted):
            commands.main(command(words, runs))
    [folder] = (runs / "store").glob(f"{stage}-*")
    return folder


def test_the_numbers_are_those_of_an_undisturbed_run(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """SPD goes back to the older checkpoint, APO to its start, and self-distillation asks one batch again."""
    assert commands.main(command(words, tmp_path / "calm")) == 0
    torn = tmp_path / "torn"
    spd = run_until(words, torn, JsonlLogger, "log_metrics", "spd", 5) / "checkpoints"
    (spd / "step=4.ckpt").write_bytes(bytes(900))
    part = run_until(words, torn, PredictionFiles, "write_on_batch_end", "self_distill", 2) / "parts/000000.json"
    part.write_text('{"studies": ["of another run"], "texts": [["x"]], "cut": [[false]]}')
    apo = run_until(words, torn, JsonlLogger, "log_metrics", "apo", 2) / "checkpoints"
    for path in apo.iterdir():
        path.write_text("not a checkpoint")
    assert commands.main(command(words, torn)) == 0
    said = capsys.readouterr().out
    assert f"{spd / 'step=4.ckpt'} cannot be continued from (it is cut off" in said
    assert "going back to an earlier one" in said and "continuing from step=2" in said
    assert said.count("going back to the start") == 2 and str(apo / "step=2.ckpt") in said
    assert f"{part} is damaged (it is about other studies)" in caplog.text
    for file in (
        "results.csv",
        "apo_listwise/seed0/apo/metrics.jsonl",
        "apo_listwise/seed0/spd/metrics.jsonl",
        "apo_listwise/seed0/self_distill/preferred.jsonl",
    ):
        calm, now = ((tmp_path / name / "smoke" / file).read_text() for name in ("calm", "torn"))
        assert calm == now, file
