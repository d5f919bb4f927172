"""`data.credentialed` says what is shown and nothing else: a run folder takes another value, and reports obey it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from apo_lightning import reports
from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.reports import compared, drift, shown
from tests.helpers import fake_run


def config(credentialed: bool, **more: object) -> dict:
    data = {"name": "tabular", "root": "films", "credentialed": credentialed}
    other = {"name": "ward", "credentialed": credentialed}
    return {"name": "x", "data": data, "evaluate": {"data": None, "sets": {"ward": {"data": other}}}} | more


@pytest.mark.parametrize("before", [True, False])
def test_a_finished_folder_takes_another_value(tmp_path: Path, before: bool) -> None:
    folder = RunFolder(tmp_path, "x")
    folder.path.mkdir()
    (folder.path / "config.yaml").write_text(OmegaConf.to_yaml(config(before)))
    (folder.path / "results.csv").write_text("arm\n")
    folder.require(config(not before))
    other = config(not before)
    other["data"]["root"] = "elsewhere"
    with pytest.raises(ArtifactError, match=r"data\.root was 'films', is 'elsewhere'") as told:
        folder.require(other)
    assert "credentialed" not in str(told.value)


def run(tmp_path: Path, manifest: dict, settings: dict | None) -> Path:
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2, manifest=manifest)
    if settings is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


OPEN = {"credentialed": False, "acknowledged": True, "guarded": []}
KEPT = {"credentialed": True, "acknowledged": False, "guarded": ["tabular"]}


@pytest.mark.parametrize(
    ("manifest", "settings", "shows"),
    [
        (OPEN, config(False), True),
        (OPEN, config(True), False),  # the last run is stricter, and was killed before it wrote its manifest
        (OPEN, config(True, acknowledge=["tabular"]), True),
        (OPEN, config(True, acknowledge=["ward"]), False),
        (OPEN, config(True, acknowledge="tabular"), False),
        (KEPT, config(False), False),  # less strict: until it is done, the samples are of the one before
        (OPEN, {"data": 3, "evaluate": {"sets": [1]}}, True),
        (OPEN, {"evaluate": {"data": {"name": "b", "credentialed": True}}}, False),
    ],
)
def test_the_stricter_of_the_last_two_runs_counts(tmp_path: Path, manifest: dict, settings: dict, shows: bool) -> None:
    folder = run(tmp_path, manifest, settings)
    reports.write(folder)
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text("utf-8")
        assert ("study000" in text) is shows and (shown.WITHHELD in text) is not shows


def test_a_further_set_counts_where_it_was_measured(tmp_path: Path) -> None:
    folder = run(tmp_path, OPEN, config(True, acknowledge=["tabular"]))
    assert shown.withheld(folder, OPEN) == ""
    (folder / "sets" / "ward").mkdir(parents=True)
    assert "acknowledge=[tabular, ward]" in shown.withheld(folder, OPEN)


def test_what_to_do_names_the_set(tmp_path: Path) -> None:
    said = shown.withheld(run(tmp_path, KEPT, None), KEPT)
    assert "acknowledge=[tabular]" in said and "data.credentialed=false" in said
    assert "acknowledge=[NAME]" in shown.withheld(tmp_path, {"credentialed": True})


def test_drift_names_no_study_of_a_set_that_became_stricter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path, OPEN, config(True))
    (folder / "drift.json").write_text(json.dumps({"version": drift.VERSION}))
    made = {"conflict": {"worst": ["study000"]}}
    monkeypatch.setattr(drift, "load", lambda path: made)
    monkeypatch.setattr(drift, "section", lambda record: record["conflict"]["worst"])
    assert drift.read(folder) == []


def test_compare_names_runs_and_sets(tmp_path: Path) -> None:
    runs = [
        compared.compare.Run(run(tmp_path / name, KEPT | {"experiment": name}, None), name, None, KEPT, {}, {})
        for name in ("mine", "mine_b1")
    ]
    said = compared._withheld(runs)
    assert "mine and mine_b1 are of a data set" in said and "acknowledge=[tabular]" in said and "[NAME]" not in said
    assert "mine is of a data set" in compared._withheld(runs[:1])
