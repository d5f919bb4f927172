"""Open-I as Kaggle and R2Gen pass it on, and each way in which a download can be broken."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from apo_lightning.errors import DataError
from data_modules.open_i import OpenI
from tests.helpers.open_i_folder import kaggle_folder, r2gen_folder


def substitute(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("images", ["images/images_normalized", "images", "."])
def test_kaggles_form(tmp_path, images):
    """Labels from MeSH and Problems; views from the projections; 30 patients, 60 images."""
    data = OpenI(root=str(kaggle_folder(tmp_path, images=images)))
    data.check()
    found = {study.id: study for study in data.index}
    assert found["CXR1"].images == (str(tmp_path / images / "1_IM-0001-4001.dcm.png"),)
    assert found["CXR1"].views == ("FRONTAL",) and data.faults == []
    named = {uid: {n for n, v in found[f"CXR{uid}"].findings.items() if v} for uid in (1, 2, 3, 4, 5)}
    assert named == {
        1: {"no_finding"},
        2: {"pleural_effusion"},
        3: {"calcified_granuloma", "granuloma"},
        4: {"atelectasis"},
        5: {"no_finding"},
    }
    found = {study.id: study for study in OpenI(root=str(tmp_path), unindexed="unknown").index}
    assert math.isnan(found["CXR5"].findings["edema"]) and found["CXR1"].findings["edema"] == 0


def test_kaggles_pleural_thickening_has_another_word(tmp_path):
    """The headings say ``Thickening/pleura``, where the automatic terms say ``pleural thickening``."""
    substitute(kaggle_folder(tmp_path) / "indiana_reports.csv", "Pleural Effusion/left/small", "Thickening/pleura/left")
    assert OpenI(root=str(tmp_path)).index[1].findings["pleural_thickening"] == 1


@pytest.mark.parametrize(
    ("table", "old", "new", "fault", "left"),
    [
        ("reports", "\n7,", "\nCXR7,", ("indiana_reports.csv:8", "uid is no number"), 29),
        ("reports", "\n7,", "\n6,", ("indiana_reports.csv:8", "is listed before"), 29),
        ("reports", "\n7,", "\n,", ("indiana_reports.csv:8", "column 'uid' is empty"), 29),
        ("projections", "\n30,", "\n99,", ("indiana_projections.csv:60", "indiana_reports.csv has no such uid"), 29),
        ("projections", "Lateral", "Oblique", ("indiana_projections.csv:2", "unknown projection ('Oblique')"), 30),
        ("projections", "4001", "3001", ("indiana_projections.csv:3", "is listed before"), 29),
        ("projections", "1_IM-0001-4001", "../x", ("indiana_projections.csv:3", "leads out of data.root"), 29),
    ],
)
def test_kaggles_faults_are_named(tmp_path, table, old, new, fault, left):
    substitute(kaggle_folder(tmp_path, images=".") / f"indiana_{table}.csv", old, new)
    data = OpenI(root=str(tmp_path))
    assert len(data.index) == left
    where, why = data.faults[0]
    assert where == fault[0] and fault[1] in why


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: (r / "indiana_projections.csv").unlink(), "none of indiana_projections.csv"),
        (lambda r: substitute(r / "indiana_reports.csv", "Problems", "Problem"), "no column 'Problems'. Did you mean"),
        (lambda r: substitute(r / "indiana_projections.csv", "projection", "view"), "no column 'projection'"),
    ],
)
def test_kaggles_tables_must_be_whole(tmp_path, change, reason):
    change(kaggle_folder(tmp_path))
    with pytest.raises(DataError, match=reason):
        OpenI(root=str(tmp_path)).studies("test")


@pytest.mark.parametrize("key", ["test", "", "blank"])
def test_r2gens_form(tmp_path, key):
    """Each item says its split itself: one copy has its key ``test`` blanked out. It has no labels."""
    data = OpenI(root=str(r2gen_folder(tmp_path, test_key=key)), official_split="r2gen", max_images=2)
    data.check()
    assert [len(data.studies(split)) for split in data.splits] == [20, 4, 6]
    study = data.studies("test")[0]
    assert study.images == tuple(str(tmp_path / f"images/CXR25_IM-0025/{n}.png") for n in (0, 1))
    assert all(math.isnan(value) for value in study.findings.values()) and len(study.findings) == 19
    assert any("has no labels" in note for note in data.notes)
    assert [len(OpenI(root=str(tmp_path)).studies(split)) for split in data.splits] == [22, 4, 4]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": "2384"}, "id '2384' does not begin with CXR"),
        ({"id": None}, "id None does not begin with CXR"),
        ({"id": "CXR2_IM-0002"}, "'CXR2' is listed before"),
        ({"split": "holdout"}, "neither its 'split' nor its list is called train, val or test"),
        ({"image_path": "0.png"}, "image_path must be a list of paths, got '0.png'"),
        ({"image_path": ["../../x.png"]}, "image path '../../x.png' leads out of data.root"),
    ],
)
def test_r2gens_faults_are_named(tmp_path, changes, reason):
    path = r2gen_folder(tmp_path) / "annotation.json"
    lists = json.loads(path.read_text())
    lists["train"][2] |= changes
    path.write_text(json.dumps(lists))
    data = OpenI(root=str(tmp_path))
    assert len(data.index) == 29
    assert data.faults == [("annotation.json:train[2]", data.faults[0][1])] and reason in data.faults[0][1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "cannot be read as JSON"), ("[1]", "must hold lists"), ('{"train": 1}', "must hold lists")],
)
def test_r2gens_file_must_be_whole(tmp_path, text, reason):
    (r2gen_folder(tmp_path) / "annotation.json").write_text(text)
    with pytest.raises(DataError, match=reason):
        OpenI(root=str(tmp_path)).studies("test")
