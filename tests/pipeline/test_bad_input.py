"""Every mistake is one clear sentence before any training, from the same command that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from PIL import Image

from apo_lightning.cli import commands
from tests.pipeline.conftest import ROOT

SMOKE = str(ROOT / "experiments/smoke.yaml")


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(Trainer, "fit", refuse)


def said(capsys: pytest.CaptureFixture, *words: str, experiment: str = SMOKE) -> str:
    """What the command prints to stderr, line breaks of the terminal taken out."""
    code = commands.main(["run", experiment, "runs_dir=runs", "wandb.mode=disabled", *words])
    assert code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("stages.apo.loss.betta=1", ["stages.apo.loss.betta", "Did you mean 'beta'?", "command line"]),
        ("stages.spd.steps=many", ["stages.spd.steps", "many"]),
        ("stages.apo.loss.beta=-0.1", ["stages.apo.loss.beta must be > 0, got -0.1"]),
        ("teachers.eagre.weight=0.2", ["teachers.eagre", "Did you mean 'eager'?"]),
        ("student.model=/nowhere", ["/nowhere"]),
        ("data.domain=mars", ["data.domain must be one of", "mars"]),
        ("pool.select=[nobody]", ["nobody"]),
        ("evaluate.findings=[oedema]", ["evaluate.findings names 'oedema'", "Did you mean 'edema'?"]),
    ],
)
def test_settings(word: str, parts: list[str], capsys: pytest.CaptureFixture) -> None:
    text = said(capsys, word)
    assert all(part in text for part in parts), text


def test_a_teacher_without_trajectories(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "said.jsonl").write_text(
        json.dumps({"study": "elsewhere", "teacher": "gpt5", "text": "No edema."}) + "\n"
    )
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(f"extends: [{SMOKE}]\nname: mine\nteachers:\n  gpt5: {{kind: recorded, path: said.jsonl}}\n")
    text = said(capsys, *words, experiment=str(experiment))
    assert "gpt5" in text and "said.jsonl" in text


def test_a_run_folder_of_another_configuration(words: list[str], capsys: pytest.CaptureFixture) -> None:
    Path("runs/smoke").mkdir(parents=True)
    Path("runs/smoke/config.yaml").write_text("name: smoke\nstages: {apo: {loss: {beta: 7.0}}}\n")
    Path("runs/smoke/results.csv").touch()
    text = said(capsys, *words)
    assert "runs/smoke was made by another configuration" in text and "name=smoke_2" in text


def test_images_that_cannot_be_read_stop_the_run_with_their_list(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "nih"
    (root / "images").mkdir(parents=True)
    names = [f"{patient:08d}_000.png" for patient in range(12)]
    rows = [f"{name},No Finding,0,{i},50,M,PA,100,100,0.1,0.1" for i, name in enumerate(names)]
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(names[:8]) + "\n")
    (root / "test_list.txt").write_text("\n".join(names[8:]) + "\n")
    for name in names:
        Image.new("L", (32, 32), 90).save(root / "images" / name)
    whole = (root / "images" / names[0]).read_bytes()
    (root / "images" / names[0]).write_bytes(whole[: len(whole) // 2])
    (root / "images" / names[9]).write_text("not an image")
    given = [w for w in words if not w.startswith("data.")]
    text = said(capsys, *given, f"data.root={root}", experiment=str(ROOT / "experiments/real_chestxray14.yaml"))
    assert names[0] in text or "unusable.tsv" in text
    listed = Path("runs/real_chestxray14/unusable.tsv").read_text()
    assert names[0] in listed and names[9] in listed
