"""One checkpoint answers several sets: their tables, those that are not there, and what is not trained again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image

from apo_lightning import config, reports
from apo_lightning.errors import DataError
from apo_lightning.experiment import trainer
from apo_lightning.experiment.run import run
from apo_lightning.types import Prior, Study
from data_modules import DATA
from data_modules.base import CXRDataModule
from data_modules.phantom import Phantom
from tests.pipeline.conftest import ROOT

OF_TEACHERS = ("inherited", "repeats")
"""Metrics that hold a row against the teachers, who were asked about none of a further set."""


@dataclass(eq=False, kw_only=True)
class Pairs(CXRDataModule):
    """Five guarded studies with an earlier image each, and one finding of which the course is known."""

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
                prior=Prior(f"q{i}b", (f"then{i}",)),
                progression={"edema": "stable" if i < 4 else "worsening"},
            )
            for i in range(5)
        ]

    def open_images(self, study: Study) -> list[Image.Image]:
        return [Image.new("L", (112, 112), 40), Image.new("L", (112, 112), 200)]


class Ward(Phantom):
    """The drawn world as a hospital that numbers its patients."""

    patients_of = "ward"


class Recalled(Ward):
    """Two patients of the ward's training split, who came back to be tested on."""

    def read_studies(self, split: str) -> Sequence[Study]:
        own = super().read_studies("train")
        first = list(dict.fromkeys(study.patient for study in own))[:2]
        return [
            Study(f"again-{s.id}", s.patient, "test", s.images, s.findings, s.details, s.report)
            for s in own
            if s.patient in first
        ]

    def open_images(self, study: Study) -> list[Image.Image]:
        return [Image.new("L", (112, 112), 90)]


class Other(Recalled):
    patients_of = "elsewhere"


SCANNER = {"title": "Another scanner", "data": {"name": "phantom", "domain": "scanner", "test": 5}}
PAIRS = {"title": "Pairs", "data": {"name": "pairs"}, "prompt": "progression"}
GONE = {"title": "Open-I", "data": {"name": "open_i", "root": "nowhere/open_i"}}
OWN = (
    "student.model=nano",
    "evaluate.max_new_tokens=24",
    "student.max_prompt_tokens=200",
    "wandb.mode=disabled",
    "stages.spd.steps=2",
    "stages.apo.steps=2",
)
"""The embedded student, which says other things of other images, with room for two of them."""
SETS = {"scanner": SCANNER, "pairs": PAIRS, "gone": GONE}


@pytest.fixture(scope="module", autouse=True)
def _known() -> Iterator[None]:
    """The data sets above, and runs that end with their tables: no report is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        for name, cls in {"pairs": Pairs, "ward": Ward, "recalled": Recalled, "recalled_elsewhere": Other}.items():
            patch.setitem(DATA, name, cls)
        patch.setattr(reports, "write", lambda folder: folder)
        patch.setattr(reports, "print_table", lambda folder: None)
        yield


@pytest.fixture(scope="module")
def go(words, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs two arms with these sets; runs of one module share a store."""
    place = tmp_path_factory.mktemp("sets")

    def again(name: str, sets: dict[str, Any] | None = None, *more: str, **other: Any) -> Path:
        base = ROOT / "experiments/base"
        own = {
            "extends": [str(base / f"{part}.yaml") for part in ("nano", "stages_nano", "teachers_drifting")],
            "name": name,
            "data": {"name": "phantom"},
            "evaluate": {"sets": sets or {}},
            "arms": {
                "base": {"label": "Base", "stages": []},
                "apo": {"label": "APO", "stages": ["spd", "self_distill", "apo"]},
            },
        }
        own |= other
        (place / f"{name}.yaml").write_text(yaml.safe_dump(own, sort_keys=False))
        given = [*words, *OWN, f"runs_dir={place}/runs", *more]
        return run(config.load(place / f"{name}.yaml", given))

    return again


@pytest.fixture(scope="module")
def folder(go) -> Path:
    return go("several", SETS)


def values(folder: Path, arm: str, table: str = "results.csv") -> dict[tuple[str, str], float]:
    frame = pd.read_csv(folder / table)
    frame = frame[(frame.arm == arm) & ~frame.metric.str.startswith("logp")]
    return dict(zip(zip(frame.metric, frame.finding, strict=True), frame.value, strict=True))


def keys(folder: Path, arm: str = "apo") -> dict[str, str]:
    return {link.name: link.readlink().name for link in (folder / arm / "seed0").iterdir()}


def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **how: Any) -> None:
        raise AssertionError("something was trained or asked again")

    monkeypatch.setattr(trainer, "fit", fail)
    monkeypatch.setattr(trainer, "predict", fail)


def test_every_set_has_tables_of_its_own(folder: Path) -> None:
    for name, findings in (("scanner", 7), ("pairs", 1)):
        frame = pd.read_csv(folder / "sets" / name / "results.csv")
        metric = "accuracy" if name == "scanner" else "progression_accuracy"
        assert {"base", "apo"} < set(frame.arm)
        assert len(frame[(frame.arm == "apo") & (frame.metric == metric)]) == findings + 1
        bounds = pd.read_csv(folder / "sets" / name / "intervals.csv")
        assert set(bounds[bounds.arm == "apo"].studies) == {5}
        apart = pd.read_csv(folder / "sets" / name / "differences.csv")
        assert set(zip(apart.arm, apart.against, strict=True)) == {("apo", "base")}
    answers = (folder / "apo/seed0/evaluate_scanner/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["study"] for line in answers] == [s.id for s in Phantom(test=5).studies("test")]


def test_teachers_were_asked_about_the_runs_own_data_alone(folder: Path) -> None:
    """Studies of the shifted set bear the ids of home's, and nobody has spoken of them; baselines are always there."""
    kinds = pd.read_csv(folder / "sets/scanner/results.csv").groupby("kind").arm.unique()
    assert "teacher" not in kinds and set(kinds["baseline"]) == {"always_yes", "always_no", "prevalence"}
    assert "majority_vote" in set(pd.read_csv(folder / "results.csv").arm)
    asked = [json.loads(line)["study"] for line in (folder / "apo/seed0/collect/trajectories.jsonl").open()]
    assert len(set(asked)) == 18 and not any(name.startswith("q") for name in asked)


def test_a_set_that_is_not_on_disk_is_named_and_left_out(folder: Path) -> None:
    listed = {own["name"]: own for own in json.loads((folder / "sets/sets.json").read_text())}
    assert listed["scanner"] == {
        "name": "scanner",
        "title": "Another scanner",
        "studies": 5,
        "findings": list(Phantom.vocabulary),
        "patients": len({s.patient for s in Phantom(test=5).studies("test")}),
        "left_out": "",
    }
    assert listed["gone"]["left_out"] == (
        "Open-I is not on disk. evaluate.sets.gone.data.root: nowhere/open_i is no folder. Give the folder into which "
        "the archive was unpacked."
    )
    assert not (folder / "sets/gone").exists() and not (folder / "apo/seed0/evaluate_gone").exists()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sets"] == list(listed.values())
    assert {"sets/sets.json", "sets/scanner/results.csv", "sets/pairs/differences.csv"} <= manifest["files"].keys()


def test_a_guarded_set_among_them_guards_the_run(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["guarded"] == ["pairs"] and manifest["acknowledged"] is False
    assert "a hospital" in manifest["citation"] and not (folder / "samples").exists()


def test_the_same_command_trains_and_asks_nothing(folder: Path, go, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in sorted((folder / "sets").rglob("*.*"))}
    no_work(monkeypatch)
    assert go("several", SETS) == folder
    assert {path: path.read_bytes() for path in sorted((folder / "sets").rglob("*.*"))} == before


def test_a_set_more_trains_nothing_and_moves_no_value(folder: Path, go) -> None:
    """Against no set at all: every stage that was stored for the run's own data is found again."""
    plain = go("plain")
    own = {stage: key for stage, key in keys(folder).items() if not stage.startswith("evaluate_")}
    assert keys(plain) == own and set(own) == {"collect", "spd", "self_distill", "apo", "evaluate"}
    assert (plain / "results.csv").read_bytes() == (folder / "results.csv").read_bytes()
    assert not (plain / "sets").exists()


@pytest.mark.parametrize(("name", "prompt"), [("scanner", None), ("pairs", "progression")])
def test_a_set_among_several_counts_as_it_does_alone(folder: Path, go, name: str, prompt: str | None) -> None:
    """``evaluate.data`` of the same set: the same answers, hence the same values."""
    alone = go(f"to_{name}", evaluate={"data": SETS[name]["data"], "prompt": prompt})
    for arm in ("base", "apo"):
        common = {key: v for key, v in values(alone, arm).items() if not key[0].startswith(OF_TEACHERS)}
        assert values(folder / "sets" / name, arm) == pytest.approx(common, nan_ok=True)
        answers = [folder / arm / "seed0" / f"evaluate_{name}", alone / arm / "seed0" / "evaluate"]
        one, other = ((path / "predictions.jsonl").read_text() for path in answers)
        assert one == other


def test_another_evaluation_set_trains_nothing_again(go) -> None:
    """Neither SPD nor APO sees where answers are scored, whatever class the other set has."""
    one = go("to_scanner", evaluate={"data": SCANNER["data"], "prompt": None})
    other = go("to_pairs", evaluate={"data": PAIRS["data"], "prompt": "progression"})
    both = go("to_both", evaluate={"data": PAIRS["data"], "prompt": "progression", "sets": {"scanner": SCANNER}})
    assert keys(one)["spd"] == keys(other)["spd"] and keys(one)["apo"] == keys(other)["apo"]
    assert keys(one)["evaluate"] != keys(other)["evaluate"]
    assert {stage: key for stage, key in keys(both).items() if stage != "evaluate_scanner"} == keys(other)


def test_patients_of_a_further_set_leave_training(go) -> None:
    sets = {"back": {"title": "Back again", "data": {"name": "recalled"}}}
    ward = {"data": {"name": "ward"}, "arms": {"spd": {"label": "SPD", "stages": ["spd"]}}}
    plain, run_ = go("ward", **ward), go("ward_sets", sets, **ward)
    patients = pd.read_csv(run_ / "splits.csv").groupby("split").patient.unique()
    tested = {json.loads(line)["patient"] for line in (run_ / "spd/seed0/evaluate_back/predictions.jsonl").open()}
    assert len(tested) == 2 and not tested & {*patients["train"], *patients["val"]}
    data = json.loads((run_ / "manifest.json").read_text())["data"]
    removed = json.loads((run_ / "sets/sets.json").read_text())[0]["studies"]
    assert data["removed"] == removed > 0 and data["studies"]["train"] == 8 - removed
    assert keys(run_, "spd")["spd"] != keys(plain, "spd")["spd"]
    more = go("ward_more", sets | {"scanner": SCANNER}, **ward)
    assert keys(more, "spd")["spd"] == keys(run_, "spd")["spd"], "another set, whose patients are not in training"


def test_equal_ids_of_sets_that_are_not_known_to_share_patients_stop_the_run(go, monkeypatch) -> None:
    class Clash(Other):
        def read_studies(self, split: str) -> Sequence[Study]:
            own = super().read_studies(split)
            return [Study(s.id.removeprefix("again-"), s.patient, "test", s.images, s.findings) for s in own]

    monkeypatch.setitem(DATA, "recalled_elsewhere", Clash)
    no_work(monkeypatch)
    with pytest.raises(DataError, match=r"data and evaluate\.sets\.clash\.data both have a study 'p00000s0'"):
        go("clash", {"clash": {"title": "Clash", "data": {"name": "recalled_elsewhere"}}})


def test_a_broken_set_stops_the_run_before_anything_is_trained(go, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("Image Index\n1.png\n")
    no_work(monkeypatch)
    with pytest.raises(DataError, match=r"Data_Entry_2017_v2020\.csv has no column"):
        go("broken", {"nih": {"title": "NIH", "data": {"name": "chestxray14", "root": str(tmp_path)}}})


def test_a_set_is_asked_and_measured_in_its_own_way_and_on_its_test_split(go) -> None:
    """Asked for a report, it is measured beside its reports, whatever the run's own set is asked and evaluated on."""
    written = go("reports", {"written": SCANNER | {"prompt": "report"}}, "only=[base]", "evaluate.split=val")
    metrics = set(pd.read_csv(written / "sets/written/results.csv").metric)
    assert "python:rouge_l" in metrics and "python:rouge_l" not in set(pd.read_csv(written / "results.csv").metric)
    answers = (written / "base/seed0/evaluate_written/predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["study"] for line in answers] == [s.id for s in Phantom(test=5).studies("test")]
