"""A study, killed in a stage and between its parts: the same command ends with the tables of an undisturbed one, and no
search has looked at the test split."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.pipeline.conftest import ROOT
from tests.pipeline.test_kill import DEADLY

BETWEEN = """
import os, signal, sys
from apo_lightning import cli
from apo_lightning.experiment.study import run

run._final = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(cli.main(sys.argv[1:]))
"""
STUDY = """# As small as it gets
experiment: {experiment}
worlds:
  few: {{title: six, set: {{data.train: 6}}}}
  more: {{title: eight, set: {{data.train: 8}}}}
arms: [base, spd_mt, apo_listwise]
trials:
  spd_mt: [{{stages.spd.optim.lr: 1.0e-3}}, {{stages.spd.optim.lr: 3.0e-3}}]
  default: [{{stages.apo.optim.lr: 2.0e-4}}, {{stages.apo.optim.lr: 2.0e-3}}]
budget: 2
search: {{seeds: [0], set: {{evaluate.likelihood.form: off, evaluate.likelihood_studies: 0}}}}
final:
  seeds: [1, 2]
  arms: {{best: 1, also: [base, spd_mt]}}
  set:
    evaluate.likelihood.form: off
    evaluate.likelihood_studies: 0
"""


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """A table without the times that it took."""
    with (folder / name).open(encoding="utf-8") as file:
        return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def studies(path: Path) -> set[str]:
    return {json.loads(line)["study"] for line in path.read_text("utf-8").splitlines()}


def test_tables_survive_a_kill_in_a_stage_and_between_search_and_final(words: list[str], tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(STUDY.format(experiment=ROOT / "experiments/smoke.yaml"))
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "between.py").write_text(BETWEEN)
    small = [word for word in words if not word.startswith("data.train")]
    plain = ["study", str(own), *small, "wandb.mode=disabled", "stages.spd.steps=4", "stages.apo.steps=4"]

    def run(start: list[str], runs: str) -> subprocess.CompletedProcess:
        command = [sys.executable, *start, *plain, f"runs_dir={tmp_path / runs}"]
        return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    calm = run(["-m", "apo_lightning"], "calm")
    assert calm.returncode == 0, calm.stderr
    for start in ([str(tmp_path / "deadly.py"), "apo", "3"], [str(tmp_path / "between.py")]):
        assert run(start, "torn").returncode == -signal.SIGKILL, start
    again = run(["-m", "apo_lightning"], "torn")
    assert again.returncode == 0, again.stderr
    place, torn = (tmp_path / runs / "study/own" for runs in ("calm", "torn"))
    for name in ("trials.csv", "finals.csv"):
        assert rows(place, name) == rows(torn, name) != [], name
    assert (place / "table.md").read_text() == (torn / "table.md").read_text()

    trials, finals = rows(place, "trials.csv"), rows(place, "finals.csv")
    assert [(row["world"], row["arm"], row["trial"]) for row in trials] == [
        (world, arm, trial) for world in ("few", "more") for arm in ("spd_mt", "apo_listwise") for trial in "12"
    ]
    assert {row["seed"] for row in finals} == {"1", "2"} and {row["split"] for row in finals} == {"test"}
    for world in ("few", "more"):
        with (place / world / "search/splits.csv").open(encoding="utf-8") as file:
            test = {row["study"] for row in csv.DictReader(file) if row["split"] == "test"}
        asked = [*(place / world / "search").glob("*/seed*/evaluate/predictions.jsonl")]
        asked += [*(place / world / "search").glob("*/seed*/self_distill/preferred.jsonl")]
        assert test and len(asked) == 6
        assert not [path for path in asked if studies(path) & test]
