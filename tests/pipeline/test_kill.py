"""kill -9 in each of the three stages; the same command again ends with the numbers of an undisturbed run.

Dropout and a loss that draws a teacher at random are on, so a resumed step must draw what it would have drawn.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.pipeline.conftest import ROOT

DEADLY = """
import os, signal, sys
from apo_lightning import cli
from apo_lightning.experiment.jsonl_logger import JsonlLogger
from apo_lightning.experiment.prediction_files import PredictionFiles

def die_after(cls, hook, stage, count):
    plain, calls = getattr(cls, hook), []
    def deadly(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        writes = getattr(self, "path", None) or self.parts
        calls.extend([1] if f"/{stage}-" in str(writes) else [])
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
    setattr(cls, hook, deadly)

stage, count = sys.argv[1], int(sys.argv[2])
if stage == "self_distill":
    die_after(PredictionFiles, "write_on_batch_end", stage, count)
else:
    die_after(JsonlLogger, "log_metrics", stage, count)
sys.exit(cli.main(sys.argv[3:]))
"""


def command(words: list[str], runs: Path) -> list[str]:
    return [
        "run",
        str(ROOT / "experiments/smoke.yaml"),
        *words,
        f"runs_dir={runs}",
        "only=[apo_listwise]",
        "wandb.mode=disabled",
        "student.adapter.dropout=0.2",
        "stages.apo.loss.name=dpo",
    ]


def test_final_numbers_survive_a_kill_in_each_stage(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    undisturbed = command(words, tmp_path / "calm")
    subprocess.run([sys.executable, "-m", "apo_lightning", *undisturbed], check=True, cwd=ROOT, capture_output=True)
    for stage, count in (("spd", 5), ("self_distill", 2), ("apo", 3)):
        killed = command(words, tmp_path / "torn")
        end = subprocess.run(
            [sys.executable, tmp_path / "deadly.py", stage, str(count), *killed], cwd=ROOT, check=False
        )
        assert end.returncode == -signal.SIGKILL, stage
    done = subprocess.run(
        [sys.executable, "-m", "apo_lightning", *command(words, tmp_path / "torn")],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "continuing from step=2" in done.stdout
    for file in (
        "results.csv",
        "apo_listwise/seed0/apo/metrics.jsonl",
        "apo_listwise/seed0/spd/metrics.jsonl",
        "apo_listwise/seed0/self_distill/preferred.jsonl",
    ):
        calm, torn = ((tmp_path / name / "smoke" / file).read_text() for name in ("calm", "torn"))
        assert calm == torn, file
