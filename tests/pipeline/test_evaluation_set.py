"""Train on drawn images, answer a credentialed set of image pairs that the teachers have never seen."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from apo_lightning import config
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.run import run
from apo_lightning.teachers import recorded
from apo_lightning.types import Prior, Study, Trajectory
from data_modules import DATA
from data_modules.base import CXRDataModule
from tests.pipeline.conftest import ROOT

WORDS = "the radiologist saw a zebra"


@dataclass(eq=False, kw_only=True)
class Pairs(CXRDataModule):
    """Six studies with an earlier image each; edema is stable in four and worsening in two."""

    on_disk = False
    splits = ("test",)
    vocabulary = ("edema",)
    credentialed = True
    citation = "a hospital"

    def read_studies(self, split: str) -> Sequence[Study]:
        return [
            Study(
                f"q{i}",
                f"q{i}",
                "test",
                (f"now{i}",),
                {"edema": 1.0},
                report=WORDS,
                prior=Prior(f"q{i}b", (f"then{i}",)),
                progression={"edema": "stable" if i < 4 else "worsening"},
            )
            for i in range(6)
        ]

    def open_images(self, study: Study) -> list[Image.Image]:
        return [Image.new("L", (112, 112), 40), Image.new("L", (112, 112), 200)]


def right(study: Study, finding: str, teacher: str) -> str:
    """Teacher one knows edema alone and takes the others for the opposite; teacher two knows the others alone."""
    knows = (finding == "edema") == (teacher == "one")
    return "There is" if (study.findings[finding] == 1.0) == knows else "No"


@pytest.fixture(scope="module")
def again(words, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Runs, as often as it is called, one arm on eight drawn studies with two recorded teachers and the pairs as
    evaluation set."""
    place = tmp_path_factory.mktemp("transfer")
    DATA.register("pairs")(Pairs)
    try:
        drawn = DATA["phantom"](train=8, val=4, test=6)
        said = [
            Trajectory(s.id, name, " ".join(f"{right(s, f, name)} {f.replace('_', ' ')}." for f in s.findings))
            for name in ("one", "two")
            for split in ("train", "val")
            for s in drawn.studies(split)
        ]
        recorded.write_jsonl(place / "said.jsonl", said)
        base = ROOT / "experiments/base"
        teachers = {name: {"kind": "recorded", "path": str(place / "said.jsonl")} for name in ("one", "two")}
        own = {
            "extends": [str(base / "nano.yaml"), str(base / "stages_nano.yaml")],
            "name": "mine",
            "data": {"name": "phantom"},
            "teachers": teachers,
            "evaluate": {"prompt": "progression", "data": {"name": "pairs"}},
            "arms": {"spd_mt": {"label": "SPD", "stages": ["spd"]}},
        }
        (place / "mine.yaml").write_text(yaml.safe_dump(own))
        given = [*words, f"runs_dir={place}/runs", "wandb.mode=disabled", "student.max_prompt_tokens=200"]
        yield lambda *more: run(config.load(place / "mine.yaml", [*given, *more]))
    finally:
        DATA.pop("pairs")


@pytest.fixture(scope="module")
def folder(again) -> Path:
    return again()


def test_progression_is_scored_and_teachers_that_never_saw_the_set_have_no_row(folder: Path) -> None:
    frame = pd.read_csv(folder / "results.csv")
    arm = frame[frame.arm == "spd_mt"].set_index(["metric", "finding"]).value
    assert 0 <= arm["progression_accuracy", "edema"] <= 1
    assert set(arm.index.get_level_values(0)) == {
        "progression_accuracy",
        "progression_macro_accuracy",
        "progression_unstated",
        "cut",
        "flip_consistency",
    }
    assert len((folder / "spd_mt/seed0/evaluate/flips.jsonl").read_text().splitlines()) == 6
    assert not {"one", "two", "majority_vote", "preferred"} & set(frame.arm)
    assert set(frame.arm) == {"spd_mt", "always_improving", "always_stable", "always_worsening"}


def test_the_manifest_says_what_was_used_and_the_split_list_is_kept(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["credentialed"] is True and manifest["acknowledged"] is False
    assert manifest["data"]["studies"] == {"train": 8, "val": 4, "test": 6} and manifest["data"]["removed"] == 0
    assert "a hospital" in manifest["citation"]
    rows = list(csv.DictReader((folder / "splits.csv").open()))
    assert [row["split"] for row in rows].count("test") == 6 and rows[-1]["study"] == "q5"


def test_nothing_of_a_credentialed_set_is_copied_or_shown_before_it_is_acknowledged(folder: Path, again) -> None:
    """The second run trains nothing; it shows the current image (grey 200), not the earlier one (grey 40)."""
    assert not (folder / "samples").exists()
    assert WORDS not in "".join(path.read_text() for path in folder.rglob("*.json*"))
    assert "data use agreement" in (folder / "report.html").read_text()
    assert again("acknowledge=[pairs]") == folder
    shown = json.loads((folder / "samples/samples.json").read_text())
    assert shown[0]["report"] == WORDS
    assert Image.open(folder / "samples" / shown[0]["image"]).getpixel((0, 0)) == 200
    assert "data use agreement" not in (folder / "report.html").read_text()


def test_a_set_that_is_not_there_cannot_be_acknowledged(again) -> None:
    with pytest.raises(ConfigError, match=r"acknowledge must name data sets of the experiment, got 'pears'.*'pairs'"):
        again("acknowledge=[pears]")


def test_the_best_teacher_is_chosen_by_the_labels_of_the_set_that_is_trained_on(again) -> None:
    """On the drawn validation studies every finding counts, though the pairs are scored on edema alone: the teacher who
    says what the labels say is chosen, not the first by name."""
    folder = again("pool.select=best_on_val", "name=best")
    manifest = yaml.safe_load((folder / "spd_mt/seed0/spd/config.yaml").read_text())
    assert list(manifest["teachers"]) == ["two"]
