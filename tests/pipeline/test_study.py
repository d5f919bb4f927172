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

QUIET = """
from apo_lightning import reports
reports.write, reports.print_table = (lambda folder: folder), (lambda folder: None)
"""
"""Reports take longer than all that is trained here, and are tested elsewhere."""
CALM = """
import sys
from apo_lightning import cli
sys.exit(cli.main(sys.argv[1:]))
"""
BETWEEN = """
import os, signal, sys
from apo_lightning import cli
from apo_lightning.experiment.study import run

run._final = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(cli.main(sys.argv[1:]))
"""
STUDY = """# As small as it gets
experiment: {experiment}
set: {{evaluate.likelihood.form: off, evaluate.likelihood_studies: 0, stages.spd.steps: 4, stages.apo.steps: 4}}
worlds:
  few: {{title: six, set: {{data.train: 6}}}}
arms: [base, spd_mt, apo_listwise]
trials:
  spd_mt: [{{stages.spd.optim.lr: 1.0e-3}}, {{stages.spd.optim.lr: 3.0e-3}}]
  default: [{{stages.apo.optim.lr: 2.0e-4}}, {{stages.apo.optim.lr: 2.0e-3}}]
budget: 2
final: {{seeds: [1, 2], arms: {{best: 1, also: [base]}}}}
"""


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """A table without the times that it took."""
    with (folder / name).open(encoding="utf-8") as file:
        return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def studies(path: Path) -> set[str]:
    return {json.loads(line)["study"] for line in path.read_text("utf-8").splitlines()}


def test_tables_survive_a_kill_in_a_stage_and_between_search_and_final(words: list[str], tmp_path: Path) -> None:
    own, start = tmp_path / "own.yaml", tmp_path / "start.py"
    own.write_text(STUDY.format(experiment=ROOT / "experiments/smoke.yaml"))
    small = [word for word in words if not word.startswith(("data.train", "stages.spd.steps", "stages.apo.steps"))]

    def run(code: str, runs: str, *first: str) -> subprocess.CompletedProcess:
        start.write_text(QUIET + code)
        command = [sys.executable, start, *first, "study", own, *small, "wandb.mode=disabled"]
        command = [*command, f"runs_dir={tmp_path / runs}"]
        return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    calm = run(CALM, "calm")
    assert calm.returncode == 0, calm.stderr
    assert run(DEADLY, "torn", "apo", "3").returncode == -signal.SIGKILL
    assert run(BETWEEN, "torn").returncode == -signal.SIGKILL
    again = run(CALM, "torn")
    assert again.returncode == 0, again.stderr
    place, torn = (tmp_path / runs / "study/own" for runs in ("calm", "torn"))
    for name in ("trials.csv", "finals.csv"):
        assert rows(place, name) == rows(torn, name) != [], name
    assert (place / "table.md").read_text() == (torn / "table.md").read_text()

    trials, finals = rows(place, "trials.csv"), rows(place, "finals.csv")
    named = [(row["arm"], row["trial"], row["split"]) for row in trials]
    assert named == [(arm, trial, "val") for arm in ("spd_mt", "apo_listwise") for trial in "12"]
    assert {(row["seed"], row["split"], row["set"]) for row in finals} == {("1", "test", "own"), ("2", "test", "own")}
    assert "base" in {row["arm"] for row in finals}
    assert_unread(place / "few/search")


def assert_unread(search: Path) -> None:
    """No student of a search has answered, and nothing was written for, a study of the test split."""
    with (search / "splits.csv").open(encoding="utf-8") as file:
        test = {row["study"] for row in csv.DictReader(file) if row["split"] == "test"}
    asked = [*search.glob("*/seed*/evaluate/predictions.jsonl"), *search.glob("*/seed*/self_distill/preferred.jsonl")]
    assert test and len(asked) == 6
    assert not [path for path in asked if studies(path) & test]
