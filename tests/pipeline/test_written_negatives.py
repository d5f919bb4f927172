"""Strategies for negatives in a whole run: what is filed, shared and counted, what depends on what, and a kill between
what the student writes and the stage that is trained on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo_lightning import config
from apo_lightning.cli import commands
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.experiment import checks, rejecting
from apo_lightning.experiment.run import run
from apo_lightning.files.jsonlines import read as read_jsonl
from apo_lightning.hashing import sources
from tests.helpers.stage_keys import begin_anew, changed, keys_of
from tests.pipeline.conftest import ROOT, Drop

SMOKE = ROOT / "experiments/smoke.yaml"
ARMS = """
extends: [{root}/experiments/smoke.yaml]
name: negatives
only: [sampled, all_samples, restated]
pool: {{select: [eager, refuser]}}
data: {{train: 4, val: 2, test: 2}}
callbacks: {{preference_monitor: {{}}, failure_signatures: {{window: 2, after: 0}}}}
trainer: {{val_check_interval: 2}}
stages: {{self_distill: {{sample: true}}}}
arms:
  sampled:
    label: Own samples
    stages: [spd, self_distill, apo]
    set: {{stages.apo.negatives: {{name: own_samples, count: 2}}}}
  all_samples:
    label: Own samples, right or wrong
    stages: [spd, self_distill, apo]
    set: {{stages.apo.negatives: {{name: own_samples, count: 2, only_wrong: false}}}}
  restated:
    label: Restated
    stages: [spd, self_distill, apo]
    set: {{stages.apo.negatives: {{name: restated}}, stages.apo.drop_refusals: false}}
"""
NAMES = ("eager", "refuser")


def given(home: Path, words: list[str]) -> list[str]:
    (home / "negatives.yaml").write_text(ARMS.format(root=ROOT))
    small = [word for word in words if not word.startswith("data.")]
    quick = ["wandb.mode=disabled", "stages.spd.steps=2", "stages.apo.steps=2", "evaluate.likelihood.form=off"]
    return [str(home / "negatives.yaml"), *small, *quick, "evaluate.likelihood_studies=0", "stages.apo.loss.name=dpo"]


@pytest.fixture(scope="module")
def folder(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("negatives")
    file, *more = given(home, words)
    return run(config.load(Path(file), [*more, f"runs_dir={home / 'runs'}"]))


def stage(folder: Path, arm: str, name: str) -> Path:
    return folder / arm / "seed0" / name


def manifest(folder: Path, arm: str, name: str) -> dict[str, Any]:
    return json.loads((stage(folder, arm, name) / "manifest.json").read_text())


def test_what_the_student_wrote_lies_before_its_stage(folder: Path) -> None:
    """Four training and two validation studies; two teachers. An untrained student says nothing that could be
    read."""
    rows = read_jsonl(stage(folder, "sampled", "negatives") / "negatives.jsonl")
    assert [row["name"] for row in rows] == ["own_1", "own_2"] * 6 and len({row["study"] for row in rows}) == 6
    assert rows[0]["text"] != rows[1]["text"]
    rows = read_jsonl(stage(folder, "restated", "negatives") / "negatives.jsonl")
    counts = manifest(folder, "restated", "negatives")["filtered"]
    assert len(rows) == counts["kept"] == 12 and set(NAMES) == {row["name"] for row in rows}
    assert "negatives" in manifest(folder, "restated", "apo")["made_of"]
    assert not (stage(folder, "restated", "negatives") / "parts").exists()


def test_arms_that_only_choose_otherwise_share_it(folder: Path) -> None:
    one, other = (stage(folder, arm, "negatives").resolve() for arm in ("sampled", "all_samples"))
    assert one == other
    assert stage(folder, "sampled", "apo").resolve() != stage(folder, "all_samples", "apo").resolve()


def test_the_stage_counts_what_it_left_out(folder: Path) -> None:
    wrong, every = (manifest(folder, arm, "apo")["filtered"] for arm in ("sampled", "all_samples"))
    assert "not_wrong" not in every and wrong["kept"] == every["kept"]
    assert 0 < wrong["not_wrong"] <= wrong["kept"]
    assert manifest(folder, "sampled", "apo")["studies"] == 4  # one without a negative stays, with its likelihood


@pytest.mark.parametrize(("arm", "names"), [("all_samples", {"own_1", "own_2"}), ("restated", set(NAMES))])
def test_what_watches_copes_with_names_that_are_no_teachers(folder: Path, arm: str, names: set[str]) -> None:
    rows = read_jsonl(stage(folder, arm, "apo") / "metrics.jsonl")
    logged = {key.rpartition("/")[2] for row in rows for key in row if key.startswith("train/logp_rejected/")}
    validated = {key.rpartition("/")[2] for row in rows for key in row if key.startswith("val/logp/")}
    assert logged and logged <= names and validated and validated <= names
    page = (folder / "report.html").read_text()
    assert "Own samples, right or wrong" in page and "negatives" in page


DEADLY = """
import os, signal, sys
from apo_lightning import cli
from apo_lightning.experiment.prediction_files import PredictionFiles
from apo_lightning.experiment.steps.fit import Fit

where, count = sys.argv[1], int(sys.argv[2])

def die(plain, stage, calls):
    def deadly(self, *args, **kwargs):
        path = getattr(self, "parts", None) or args[0].path
        calls.extend([1] if f"/{stage}-" in str(path) else [])
        if where == "inside":
            plain(self, *args, **kwargs)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        if where == "between":
            return plain(self, *args, **kwargs)
    return deadly

if where == "inside":
    PredictionFiles.write_on_batch_end = die(PredictionFiles.write_on_batch_end, "negatives", [])
else:
    Fit.run = die(Fit.run, "apo", [])
sys.exit(cli.main(sys.argv[3:]))
"""


def test_a_kill_within_and_behind_the_step_changes_nothing(folder: Path, words: list[str], tmp_path: Path) -> None:
    """The fixture's run is the undisturbed one."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    command = ["run", *given(tmp_path, words), f"runs_dir={tmp_path / 'runs'}", "only=[sampled,restated]"]
    for where, count in (("inside", 1), ("between", 1), ("between", 2)):
        end = subprocess.run(
            [sys.executable, tmp_path / "deadly.py", where, str(count), *command], cwd=ROOT, check=False
        )
        assert end.returncode == -signal.SIGKILL, where
    done = subprocess.run([sys.executable, "-m", "apo_lightning", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for arm in ("sampled", "restated"):
        for file in ("negatives/negatives.jsonl", "apo/metrics.jsonl", "evaluate/predictions.jsonl"):
            calm, torn = (stage(each, arm, file).read_text() for each in (folder, tmp_path / "runs/negatives"))
            assert calm == torn, (arm, file)


def keys(*words: str) -> dict[str, str]:
    """Hashes of all stages of the smoke experiment, without running any."""
    return keys_of(config.resolve_arm(config.load(SMOKE, words), "apo_listwise"))


def test_the_default_leaves_every_key_alone() -> None:
    assert keys("stages.apo.negatives={name: raw}", "stages.spd.negatives={name: raw}") == keys()


def test_what_depends_on_negatives() -> None:
    plain, voted = keys(), keys("stages.apo.negatives.name=outvoted")
    assert changed(plain, voted) == {"apo", "evaluate"} and "negatives" not in voted
    assert changed(voted, keys("stages.apo.negatives={name: outvoted, votes: 3}")) == {"apo", "evaluate"}
    sampled = keys("stages.apo.negatives.name=own_samples")
    assert changed(plain, sampled) == {"apo", "evaluate"} and list(sampled).index("negatives") == 3
    right = keys("stages.apo.negatives={name: own_samples, only_wrong: false}")
    assert changed(sampled, right) == {"apo", "evaluate"}
    after = {"negatives", "apo", "evaluate"}
    assert changed(sampled, keys("stages.apo.negatives={name: own_samples, count: 2}")) == after
    other = keys("stages.apo.negatives.name=own_samples", "stages.self_distill.positive.name=router")
    assert "negatives" not in changed(sampled, other)
    quiet = keys("stages.apo.negatives.name=own_samples", "stages.apo.loss.beta=3", "stages.apo.drop_refusals=false")
    assert changed(sampled, quiet) == {"apo", "evaluate"}
    shown = keys("stages.apo.negatives.name=restated")
    assert changed(shown, keys("stages.apo.negatives.name=restated", "stages.apo.drop_refusals=false")) == after


@pytest.mark.parametrize("name", ["raw", "outvoted"])
def test_an_edited_strategy_is_made_anew(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    word = f"stages.apo.negatives.name={name}"
    plain, path, read = keys(word), ROOT / "apo_lightning/negatives/outvoted.py", sources.source
    monkeypatch.setattr(sources, "source", lambda at: read(at) + (b"\nEDITED = 1\n" if at == path else b""))
    begin_anew()
    assert changed(plain, keys(word)) == ({"apo", "evaluate"} if name == "outvoted" else set())
    begin_anew()


def refused(*words: str) -> str:
    with pytest.raises(ConfigError) as raised:
        checks.check_arms(config.load(SMOKE, ["only=[apo_listwise]", *words]).resolved)
    return str(raised.value)


def test_what_cannot_be_is_said_before_training(capsys: pytest.CaptureFixture) -> None:
    assert refused("stages.spd.negatives.name=outvoted") == (
        "stages.spd.negatives must be raw, got 'outvoted': stage 'spd' reads no t+ to compare with (command line). "
        "Set it for a stage that does: apo."
    )
    said = refused("stages.apo.negatives.name=outvotd")
    assert said.startswith("No strategy for negatives is named 'outvotd' (command line). Did you mean 'outvoted'?")
    assert "Known: findings" in refused("stages.apo.negatives={name: contradicting, votes: 2}")
    assert "stages.apo.negatives.votes must be >= 1, got 0" in refused(
        "stages.apo.negatives={name: outvoted, votes: 0}"
    )
    assert "Write stages.apo.negatives={name: outvoted}." in refused("stages.apo.negatives=outvoted")
    said = refused("stages.apo.loss={name: sft, reduction: token_mean}", "stages.apo.negatives.name=outvoted")
    assert said.startswith("stages.apo.negatives 'outvoted' says what t+ is compared with, and stages.apo.loss 'sft'")
    said = refused("stages.apo.negatives.name=restated", "stages.self_distill.prompt=diagnose")
    assert said.startswith("stages.self_distill.prompt 'diagnose' has no $reports")
    told = refused("stages.self_distill.negatives.name=raw")
    assert "Unknown key 'stages.self_distill.negatives'" in told


def test_the_label_of_a_row_says_what_was_compared() -> None:
    cfg = config.load(SMOKE, ["only=[apo_listwise]", "stages.apo.negatives.name=outvoted"])
    assert cfg.arms["apo_listwise"].label.endswith("[apo.negatives.name=outvoted]")


def test_weights_of_teachers_are_no_matter_where_no_teacher_is_a_negative() -> None:
    heavy = ["stages.apo.loss.name=apo_listwise", "teachers.eager.weight=2", "stages.apo.loss.name=dpo"]
    assert "takes every teacher of a weight above 0 alike" in refused(*heavy)
    given = ["only=[apo_listwise]", *heavy, "stages.apo.negatives.name=other_study"]
    checks.check_arms(config.load(SMOKE, given).resolved)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "negatives.jsonl"
    path.write_text('{"study": "s", "name": "own_1", "text": 3, "cut": false}\n')
    with pytest.raises(ArtifactError, match=r"negatives\.jsonl must hold a text and whether it is cut\."):
        rejecting.read(path)


def test_the_page_s_strategy(drop: Drop, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """docs/adding.md: one file, named in `stages.apo.negatives.name`."""
    drop("shortest")
    monkeypatch.chdir(tmp_path)
    quick = [
        "stages.spd.steps=1",
        "stages.apo.steps=1",
        "evaluate.likelihood.form=off",
        "evaluate.likelihood.in_place=0",
    ]
    chosen = ["only=[apo_listwise]", "wandb.mode=disabled", "stages.apo.negatives.name=shortest", *quick]
    assert commands.main(["run", str(SMOKE), *words, *chosen]) == 0
    made = json.loads(Path("runs/smoke/apo_listwise/seed0/apo/manifest.json").read_text())
    counts = Counter(made["filtered"])
    assert counts["not_shortest"] > 0
    assert counts["kept"] - counts["copies"] - counts["not_shortest"] == made["studies"]  # one each
