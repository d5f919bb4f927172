"""ChestX-Det10: the official layout in small, both editions, its traps, and each way the download can be broken."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.types import Box, Study
from data_modules.chestxdet10 import ChestXDet10
from data_modules.chestxray14 import ChestXray14
from tests.helpers.chestxdet10_folder import MARKS, det10_folder, item, write

TEN = (
    "atelectasis",
    "calcification",
    "consolidation",
    "emphysema",
    "fibrosis",
    "fracture",
    "mass",
    "nodule",
    "pleural_effusion",
    "pneumothorax",
)


@pytest.fixture
def root(tmp_path) -> Path:
    return det10_folder(tmp_path)


def index(root: Path, **settings) -> dict[str, Study]:
    """Id to study, without looking for images."""
    return {study.id: study for study in ChestXDet10(root=str(root), **settings).index}


def append(root: Path, *items: object, part: str = "train") -> None:
    path = root / f"{part}.json"
    write(path, [*json.loads(path.read_text()), *items])


def test_the_official_first_item(root):
    """36204.png in the archive, 36200.png here: one nodule at 233, 666 to 258, 693 of 1024 pixels: 25 x 27."""
    study = index(root)["train/36200"]
    assert study.findings == {**dict.fromkeys(TEN, 0.0), "nodule": 1.0}
    assert study.boxes == (Box("nodule", 233 / 1024, 666 / 1024, 25 / 1024, 27 / 1024),)
    assert study.images == (str(root / "train_data/36200.png"),) and study.views == ()
    assert ChestXDet10.vocabulary == TEN


def test_syms_are_a_set_and_none_is_a_normal_image(root):
    """Third item: Effusion twice and Atelectasis, three boxes; the second item names nothing."""
    studies = index(root)
    assert studies["train/36201"].findings == dict.fromkeys(TEN, 0.0) and studies["train/36201"].boxes == ()
    third = studies["train/36202"]
    assert {name for name, value in third.findings.items() if value == 1.0} == {"pleural_effusion", "atelectasis"}
    assert [box.finding for box in third.boxes] == ["pleural_effusion", "pleural_effusion", "atelectasis"]
    assert third.boxes[1] == Box("pleural_effusion", 0.75, 0.5, 0.25, 0.5)
    assert studies["train/36203"].boxes[1] == Box("consolidation", 0.0, 0.0, 1.0, 1.0)


def test_boxes_of_images_of_another_size(root):
    assert index(root, box_side=2048)["train/36202"].boxes[1] == Box("pleural_effusion", 0.375, 0.25, 0.125, 0.25)


def test_each_image_is_its_own_patient_and_numbers_of_both_parts_do_not_collide(root):
    """36222 and 36223 are in both parts. 24 training images, val_fraction .25: 6 validate."""
    data = ChestXDet10(root=str(root), val_fraction=0.25)
    assert [len(data.studies(split)) for split in ("train", "val", "test")] == [18, 6, 8]
    studies = index(root)
    assert studies["train/36222"].images != studies["test/36222"].images
    assert all(study.patient == study.id for study in studies.values()) and data.patients_of == ""
    data.check()
    assert data.bad == [] and data.left_out == {}
    assert "labels from train.json: 24 of 24 images" in data.notes
    assert f"images of test.json from {root / 'test_data'}" in data.notes


@pytest.mark.parametrize("part", ["train", "test"])
def test_folders_of_unpacked_archives_may_be_nested(root, part):
    inner = root / f"{part}_data/{part}_data"
    inner.mkdir()
    for path in (root / f"{part}_data").glob("*.png"):
        path.rename(inner / path.name)
    data = ChestXDet10(root=str(root))
    data.check()
    assert len(data.studies("test")) == 8
    folder = root / "elsewhere"
    folder.mkdir()
    for name in ("train_data", "test_data"):
        (root / name).rename(folder / name)
    assert len(ChestXDet10(root=str(root), images_dir="elsewhere").studies("test")) == 8


def flat(root: Path, images: Path, *, test_from: int) -> None:
    """All images in one folder; test images are numbered anew from ``test_from``."""
    images.mkdir(parents=True)
    items = json.loads((root / "test.json").read_text())
    for number, entry in enumerate(items, start=test_from):
        (root / "test_data" / entry["file_name"]).rename(images / f"{number}.png")
        entry["file_name"] = f"{number}.png"
    write(root / "test.json", items)
    for path in (root / "train_data").iterdir():
        path.rename(images / path.name)
    (root / "train_data").rmdir()
    (root / "test_data").rmdir()


def test_one_folder_with_all_images(root):
    flat(root, root / "images", test_from=100)
    data = ChestXDet10(root=str(root))
    data.check()
    assert data.studies("test")[0].images == (str(root / "images/100.png"),)
    (root / "images").rename(root / "png")
    assert index(root, images_dir="png")["test/100"].images == (str(root / "png/100.png"),)


def test_one_folder_cannot_hold_two_files_of_one_name(root):
    for part in ("train", "test"):
        for path in (root / f"{part}_data").iterdir():
            path.unlink()
        (root / f"{part}_data").rmdir()
    (root / "images").mkdir()
    with pytest.raises(DataError, match=r"2 file names are in both parts, first 36222.png.*train_data and test_data"):
        index(root)


@pytest.fixture
def first_edition(tmp_path) -> Path:
    """Names of ChestX-ray14. Patient 71 is in both parts, as in the files that were published."""
    train = [f"{patient:08d}_{number:03d}.png" for patient in [*range(1, 21), 71] for number in range(2)]
    test = ["00000071_008.png", "00000091_005.png", "00000096_001.png"]
    for part, names in (("train", train), ("test", test)):
        write(tmp_path / f"{part}.json", [item(name, *MARKS[i % 4]) for i, name in enumerate(names)])
    (tmp_path / "images").mkdir()
    for number, name in enumerate([*train, *test]):
        Image.new("L", (8, 8), number).save(tmp_path / "images" / name)
    return tmp_path


def test_first_edition_tells_patients_and_leaves_those_of_the_test_part_out(first_edition):
    data = ChestXDet10(root=str(first_edition))
    data.check()
    studies = index(first_edition)
    assert studies["test/00000071_008"].patient == "71" and studies["train/00000003_001"].patient == "3"
    assert not any(study.patient == "71" for study in studies.values() if study.split != "test")
    assert len(data.studies("train")) + len(data.studies("val")) == 40 and len(data.studies("test")) == 3
    assert ChestXDet10(root=str(first_edition)).patients_of == ChestXray14.patients_of == "nih"
    fresh = ChestXDet10(root=str(first_edition))
    assert fresh.index and fresh.left_out == {"training image of a patient of the test part": 2}


def test_first_edition_reads_images_of_chestxray14_where_they_are(first_edition, tmp_path_factory):
    nih = tmp_path_factory.mktemp("nih") / "images"
    (first_edition / "images").rename(nih)
    data = ChestXDet10(root=str(first_edition), images_dir=str(nih))
    data.check()
    assert data.studies("test")[0].images == (str(nih / "00000071_008.png"),)


GOOD = [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("36300.png", "is not an object with file_name, syms and boxes"),
        ({"file_name": "36300.png", "syms": []}, "is not an object with file_name, syms and boxes"),
        (item("", [], []), "file_name is empty"),
        (item(None, [], []), "file_name is empty"),
        (item("../36200.png", [], []), r"image path '\.\./36200.png' leads out of the image folder"),
        (item("..\\36200.png", [], []), "leads out of the image folder"),
        (item("36200.png", [], []), "file_name '36200.png' is listed before"),
        (item("36300.png", ["Nodule", "Mass"], GOOD), "syms and boxes are not two lists of one length"),
        (item("36300.png", [], GOOD), "syms and boxes are not two lists of one length"),
        (item("36300.png", "Nodule", GOOD * 6), "syms and boxes are not two lists of one length"),
        (item("36300.png", ["Pneumonia"], GOOD), "syms names 'Pneumonia'; known are Atelectasis, .*Pneumothorax"),
        (item("36300.png", ["nodule"], GOOD), "syms names 'nodule'"),
        (item("36300.png", [["Nodule"]], GOOD), r"syms names '\['Nodule'\]'"),
        (item("36300.png", ["Nodule"], [[1, 2, 3]]), r"box \[1, 2, 3\] is not four numbers"),
        (item("36300.png", ["Nodule"], [[1, 2, 3, "4"]]), "is not four numbers"),
        (item("36300.png", ["Nodule"], [[1, 2, 3, True]]), "is not four numbers"),
        (item("36300.png", ["Nodule"], [None]), "box None is not four numbers"),
        (item("36300.png", ["Nodule"], [[3, 2, 3, 4]]), r"box \[3, 2, 3, 4\] is empty or not inside 1024 x 1024"),
        (item("36300.png", ["Nodule"], [[1, 4, 3, 2]]), "is empty or not inside"),
        (item("36300.png", ["Nodule"], [[-1, 2, 3, 4]]), "is empty or not inside"),
        (item("36300.png", ["Nodule"], [[1, -2, 3, 4]]), "is empty or not inside"),
        (item("36300.png", ["Nodule"], [[1, 2, 1025, 4]]), "is empty or not inside"),
        (item("36300.png", ["Nodule"], [[1, 2, 3, 1024.5]]), "is empty or not inside"),
        (item("36300.png", ["Nodule"], [[1, 2, 3, float("nan")]]), "is empty or not inside"),
    ],
)
def test_an_item_that_cannot_be_used_is_a_fault_with_its_number(root, wrong, why):
    append(root, wrong)
    data = ChestXDet10(root=str(root))
    assert len([study for study in data.index if study.split != "test"]) == 24
    ((where, reason),) = data.faults
    assert where == "train.json: item 25" and re.search(why, reason)
    with pytest.raises(DataError, match=r"1 of 33 studies and rows cannot be used"):
        data.check()


def test_byte_order_mark_and_gzip(root):
    before = index(root)
    path = root / "train.json"
    (root / "train.json.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes()))
    path.unlink()
    assert index(root) == before


def spoil(root: Path, content: bytes, name: str = "train.json") -> None:
    (root / "train.json").unlink()
    (root / name).write_bytes(content)


def broken(change, reason, **settings):
    return pytest.param(change, reason, settings, id=reason[:30])


@pytest.mark.parametrize(
    ("change", "reason", "settings"),
    [
        broken(lambda r: (r / "train.json").unlink(), "none of train.json"),
        broken(lambda r: (r / "test.json").unlink(), "none of test.json"),
        broken(lambda r: spoil(r, b""), "train.json: cannot be read as JSON"),
        broken(lambda r: spoil(r, b'[{"file_name": "1.png", "sy'), "cannot be read as JSON .*Fetch the file again"),
        broken(lambda r: spoil(r, b"\xff\xfe["), "cannot be read as JSON .*UTF-16"),
        broken(lambda r: spoil(r, gzip.compress(b"[]" * 999)[:30], "train.json.gz"), "train.json.gz: cannot be read"),
        broken(lambda r: spoil(r, gzip.compress(b"")[:10] + b"\x07" * 9, "train.json.gz"), "invalid block type"),
        broken(lambda r: spoil(r, b'{"images": []}'), "is not a list of images but {.*}"),
        broken(lambda r: spoil(r, b"[]"), "is a list without any image"),
        broken(lambda r: (r / "train_data/36203.png").unlink(), "1 of .* images of split .* are not there"),
        broken(lambda r: (r / "test_data").rename(r / "elsewhere"), "8 of 8 images of split 'test' .*test_data/36222"),
        broken(lambda r: flat(r, r / "images", test_from=0), "No image of the table was found", images_dir="pictures"),
    ],
)
def test_a_broken_download_is_an_error_that_says_where(root, change, reason, settings):
    change(root)
    with pytest.raises(DataError, match=reason):
        ChestXDet10(root=str(root), **settings).check()


def test_box_side_out_of_range():
    with pytest.raises(ValueError, match="box_side must be >= 1, got 0"):
        ChestXDet10(root="x", box_side=0)
