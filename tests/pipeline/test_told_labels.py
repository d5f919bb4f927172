"""Two students of one run: one learns from teachers that were told the labels, one from none; and a key that is set
while they do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from apo_lightning import config, reports
from apo_lightning.console import Console
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.run import run
from apo_lightning.reports.told import MARK
from apo_lightning.teachers import recorded
from apo_lightning.types import Trajectory
from data_modules import DATA
from tests.helpers import offline_wandb
from tests.pipeline.conftest import ROOT

KEY = "sk-live-0123456789abcdefghij"


@pytest.fixture(scope="module")
def again(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs the arms on drawn studies with two recorded teachers, whose lines say that "told" was told the labels."""
    place = tmp_path_factory.mktemp("told")
    drawn = DATA["phantom"](train=8, val=4, test=6)
    said = [
        Trajectory(s.id, name, f"There is edema in {s.id}.", prompt=prompt)
        for name, prompt in (("told", "explain_labels"), ("blind", "diagnose"))
        for split in ("train", "val", "test")
        for s in drawn.studies(split)
    ]
    recorded.write_jsonl(place / "said.jsonl", said)
    own = {
        "extends": [str(ROOT / "experiments/base/nano.yaml"), str(ROOT / "experiments/base/stages_nano.yaml")],
        "name": "mine",
        "data": {"name": "phantom"},
        "teachers": {name: {"kind": "recorded", "path": str(place / "said.jsonl")} for name in ("told", "blind")},
        "arms": {
            "base": {"label": "Untrained"},
            "both": {"label": "Of both", "stages": ["spd"]},
            "blind": {"label": "Of the blind", "stages": ["spd"], "set": {"pool.select": ["blind"]}},
        },
    }
    (place / "mine.yaml").write_text(yaml.safe_dump(own))
    given = [*words, f"runs_dir={place}/runs", "stages.spd.steps=2", "evaluate.likelihood.form='off'"]
    return lambda *more: run(config.load(place / "mine.yaml", [*given, "wandb.mode=disabled", *more]))


def marked(folder: Path) -> set[str]:
    frame = pd.read_csv(folder / "results.csv")
    return set(frame[frame.label.str.endswith(MARK)].arm)


@pytest.fixture(scope="module")
def folder(again: Callable[..., Path]) -> Path:
    return again("evaluate.prompt=diagnose")


def test_table_report_and_manifest_say_who_was_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert marked(folder) == {"both", "told", "majority_vote"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["teacher_prompts"] == {"told": {"explain_labels": 18}, "blind": {"diagnose": 18}}
    assert manifest["told_labels"] == ["told"]
    reports.print_table(folder, Console(width=200))
    assert "Of both learned from such texts" in capsys.readouterr().out
    for name in ("report.html", "report.md", "report.tex", "table.tex"):
        text = (folder / name).read_text()
        assert "Of both learned from such texts" in text and "Of the blind learned" not in text, name
        assert "'explain_labels' (18 texts), told the labels or the report" in text.replace(r"\_", "_").replace(
            "&#39;", "'"
        ) or (name == "table.tex")
    assert r"Of both \dag{}" in (folder / "table.tex").read_text()


def test_a_prompt_that_names_no_labels_lifts_the_warning_of_students(again: Callable[..., Path]) -> None:
    folder = again("name=described", "evaluate.prompt=describe")
    assert marked(folder) == {"told", "majority_vote"}
    assert "learned from such texts" not in (folder / "report.md").read_text()


def test_a_setting_says_it_for_texts_that_do_not(again: Callable[..., Path], folder: Path) -> None:
    old = folder.parents[1] / "old.jsonl"
    recorded.write_jsonl(
        old, [Trajectory(t.study, t.teacher, t.text) for t in recorded.read_jsonl(old.parent / "said.jsonl")]
    )
    assert "prompt" not in old.read_text()
    paths = [f"teachers.{name}.path={old}" for name in ("told", "blind")]
    silent = again("name=silent", "evaluate.prompt=diagnose", *paths)
    assert marked(silent) == set() and json.loads((silent / "manifest.json").read_text())["teacher_prompts"] == {}
    said = again("name=said", "evaluate.prompt=diagnose", *paths, "teachers.told.prompt=explain_labels")
    assert marked(said) == {"both", "told", "majority_vote"}
    with pytest.raises(ConfigError, match=r"teachers\.told.*No prompt is named 'explain_label'"):
        again("name=wrong", "teachers.told.prompt=explain_label")


@pytest.mark.parametrize("key", ["prompt", "evaluate.prompt", "stages.self_distill.prompt"])
def test_no_student_is_told(again: Callable[..., Path], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} 'explain_labels' has \$labels"):
        again("name=told", f"{key}=explain_labels")


def test_a_key_that_is_set_stands_in_no_file(
    again: Callable[..., Path], folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from apo_lightning.collecting import secrets

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert secrets.read_key("OPENAI_API_KEY", "teachers.gpt.key") == KEY
    monkeypatch.setenv("WANDB_MODE", "offline")
    with offline_wandb.new_process():
        own = again("name=with_key", "evaluate.prompt=diagnose", "wandb.mode=offline")
    files = [path for path in own.parent.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files) and own / "manifest.json" in files
    assert [str(path) for path in files if KEY.encode() in path.read_bytes()] == []
    said = capfd.readouterr()
    assert KEY not in said.out + said.err
