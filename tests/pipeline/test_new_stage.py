"""A stage is one new file: dropped into its folder, named by an arm, handed what it reads, and answered with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from apo_lightning import config, stages
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.run import run
from tests.helpers.adding_page import PAGE
from tests.pipeline.conftest import ROOT, Drop

SECTION = re.search(r"```yaml\n(arms:\n  polished:.*?)```", PAGE, re.S).group(1)


@pytest.fixture
def experiment(drop: Drop, tmp_path: Path) -> Path:
    drop("polish")
    path = tmp_path / "polished.yaml"
    path.write_text(f"extends: [{ROOT}/experiments/smoke.yaml]\nname: polished\n{SECTION}")
    return path


def test_the_stage_of_adding_md_is_one_new_file(
    experiment: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: dict[str, Path] = {}
    polish = stages.STAGES["polish"]
    monkeypatch.setattr(polish, "on_train_start", lambda self: handed.update(self.artefacts), raising=False)
    given = [*words, "runs_dir=runs", "wandb.mode=disabled", "only=[polished]"]
    folder = run(config.load(experiment, given)) / "polished/seed0"
    lines = [json.loads(line) for line in (folder / "polish/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3] and lines[-1]["train/loss"] < lines[0]["train/loss"]
    made = {name: yaml.safe_load((folder / name / "config.yaml").read_text()) for name in ("polish", "evaluate")}
    keys = {path.name: json.loads((path / "manifest.json").read_text())["inputs_sha256"] for path in folder.iterdir()}
    assert made["polish"]["from"] == keys["apo"] and made["polish"]["preferred"] == keys["self_distill"]
    assert made["evaluate"]["from"] == keys["polish"] and made["evaluate"]["before"] == keys["spd"]
    assert {name: place.parent.name.split("-")[0] for name, place in handed.items()} == {
        "trajectories": "collect",
        "student": "apo",
        "preferred": "self_distill",
    }
    assert all(place.exists() for place in handed.values())


def test_a_stage_that_lacks_what_it_reads_is_refused(experiment: Path, words: list[str]) -> None:
    for listed, said in (
        ("[spd, polish]", r"'polish' reads preferred\.jsonl, which no stage before it writes.*Add 'self_distill'"),
        ("[polish, spd, self_distill]", r"'polish' reads preferred\.jsonl"),
        ("[spd, self_distill, polished]", r"names no stage 'polished'.*Did you mean 'polish'"),
        ("[spd, self_distill, polish, polish]", "each once"),
    ):
        with pytest.raises(ConfigError, match=said):
            config.load(experiment, [*words, f"arms.polished.stages={listed}"])
    with pytest.raises(ConfigError, match=r"stages\.polish\.steps must be > 0, got 0"):
        config.load(experiment, [*words, "stages.polish.steps=0"])
    with pytest.raises(ConfigError, match=r"Unknown key 'stages\.polish\.step'.*Did you mean 'steps'"):
        config.load(experiment, [*words, "stages.polish.step=1"])
