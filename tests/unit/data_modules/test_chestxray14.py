"""NIH ChestX-ray14: the official layout in small, each way it can be broken, and the real sample where it exists."""

from __future__ import annotations

import gzip
import logging
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning.errors import DataError
from apo_lightning.types import Box, Study
from data_modules.archives.image_folders import choose_images
from data_modules.chestxray14 import LABELS, ChestXray14, read_list
from tests.helpers.chestxray14_folder import HEADER, box_file, names, nih_folder, row

SAMPLE = Path(__file__).parents[4] / "shared/data/nih_chestxray14_sample"
TABLE = "Data_Entry_2017_v2020.csv"
FOURTEEN = (
    "atelectasis",
    "cardiomegaly",
    "consolidation",
    "edema",
    "emphysema",
    "fibrosis",
    "hernia",
    "infiltration",
    "mass",
    "nodule",
    "pleural_effusion",
    "pleural_thickening",
    "pneumonia",
    "pneumothorax",
)


@pytest.fixture
def root(tmp_path) -> Path:
    return nih_folder(tmp_path)


def all_studies(data: ChestXray14) -> dict[str, Study]:
    return {study.id: study for split in ("train", "val", "test") for study in data.studies(split)}


def index(root: Path, **settings) -> dict[str, Study]:
    """Id to study, without looking for images."""
    return {study.id: study for study in ChestXray14(root=str(root), **settings).index}


def present(study: Study) -> set[str]:
    return {name for name, value in study.findings.items() if value == 1.0}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_labels_of_a_row(root):
    """Rows go round No Finding; Effusion|Mass; Pneumonia; Cardiomegaly|Edema|Effusion."""
    studies = all_studies(ChestXray14(root=str(root)))
    assert ChestXray14.vocabulary == FOURTEEN
    assert studies["00000001_000"].findings == dict.fromkeys(FOURTEEN, 0.0)
    assert studies["00000001_001"].findings == {**dict.fromkeys(FOURTEEN, 0.0), "pleural_effusion": 1.0, "mass": 1.0}
    assert present(studies["00000002_001"]) == {"cardiomegaly", "edema", "pleural_effusion"}
    assert studies["00000002_001"].patient == "2" and studies["00000002_001"].views == ("PA",)
    assert studies["00000002_001"].images == (str(root / "images" / "00000002_001.png"),)


def test_every_label_has_its_name(root):
    replace(root / TABLE, "Pneumonia", "|".join(LABELS))
    assert present(index(root)["00000002_000"]) == set(FOURTEEN)


def test_findings_may_be_narrowed_to_the_seven_that_other_sets_share(root):
    data = ChestXray14(root=str(root), findings=["mass", "pneumonia"])
    assert all_studies(data)["00000001_001"].findings == {"mass": 1.0, "pneumonia": 0.0}


def test_a_table_without_projections_gives_unknown_views(root):
    path = root / TABLE
    path.write_text(path.read_text().replace(",View Position", "").replace(",PA,", ","))
    assert {study.views for study in index(root).values()} == {("",)}


def test_splits_are_the_official_lists_with_validation_cut_by_patient(root):
    """20 train_val patients, val_fraction .15: 3 patients = 6 studies validate, 34 train, 10 test."""
    data = ChestXray14(root=str(root))
    assert {split: len(data.studies(split)) for split in ("train", "val", "test")} == {
        "train": 34,
        "val": 6,
        "test": 10,
    }
    assert {study.id + ".png" for study in data.studies("test")} == set(names(range(21, 26)))
    assert len({study.patient for study in data.studies("val")}) == 3
    data.check()
    assert data.bad == []
    other = ChestXray14(root=str(root), seed=1)
    assert {s.id for s in other.studies("val")} != {s.id for s in data.studies("val")}


@pytest.mark.parametrize("header_too", [True, False])
def test_gzipped_files_and_the_older_edition_are_found(root, header_too):
    """The 2017 edition ends its lines with a comma, an empty last column that must not shift the others."""
    plain = {study_id: study.findings for study_id, study in all_studies(ChestXray14(root=str(root))).items()}
    text = (root / TABLE).read_text().replace("\n", ",\n")
    text = text if header_too else text.replace(f"{HEADER},", HEADER)
    (root / TABLE).unlink()
    with gzip.open(root / "Data_Entry_2017.csv.gz", "wt") as file:
        file.write(text)
    for name in ("train_val_list.txt", "test_list.txt"):
        (root / f"{name}.gz").write_bytes(gzip.compress((root / name).read_bytes()))
        (root / name).unlink()
    data = ChestXray14(root=str(root))
    assert {study_id: s.findings for study_id, s in all_studies(data).items()} == plain
    assert data.faults == [] and "labels from Data_Entry_2017.csv.gz: 50 images of 25 patients" in data.notes


def test_the_later_of_two_editions_is_read_unless_one_is_named(root):
    older = (root / TABLE).read_text().replace("Pneumonia", "Hernia")
    (root / "Data_Entry_2017.csv").write_text(older)
    assert present(index(root)["00000002_000"]) == {"pneumonia"}
    assert present(index(root, index_file="Data_Entry_2017.csv")["00000002_000"]) == {"hernia"}


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(crlf, id="crlf"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="byte order mark"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + crlf(text), id="both"),
        pytest.param(lambda text: text.replace(",57,", ",058Y,").encode(), id="ages of Kaggle's sample"),
        pytest.param(lambda text: text.replace(",57,", ",414,").encode(), id="ages of the older edition"),
        pytest.param(lambda text: text.replace(",", " , ").encode(), id="blanks"),
        pytest.param(lambda text: f"{text}\n\n".encode(), id="blank lines"),
    ],
)
def test_harmless_differences_of_the_tables(root, change):
    before = index(root)
    for path in (root / TABLE, root / "train_val_list.txt", root / "test_list.txt"):
        path.write_bytes(change(path.read_text()))
    data = ChestXray14(root=str(root))
    assert {study.id: study for study in data.index} == before and data.faults == []


def test_semicolons(root):
    """As a spreadsheet saves it: the header's commas inside brackets become columns of their own."""
    before = index(root)
    (root / TABLE).write_text((root / TABLE).read_text().replace(",", ";"))
    assert index(root) == before


def test_parts_of_kaggles_layout_are_one_folder(root):
    images = sorted((root / "images").iterdir())
    for part, chosen in (("images_001", images[:20]), ("images_002", images[20:])):
        (root / part / "images").mkdir(parents=True)
        for path in chosen:
            path.rename(root / part / "images" / path.name)
    data = ChestXray14(root=str(root))
    assert len(all_studies(data)) == 50
    assert f"images from {root}/images_*/images: 50 of 50 are there" in data.notes


def test_the_folder_that_covers_most_rows_is_taken_and_said(root):
    (root / "images_64").mkdir()
    for path in sorted((root / "images").iterdir())[:30]:
        path.rename(root / "images_64" / path.name)
    data = ChestXray14(root=str(root), allow_missing=True)
    assert len(all_studies(data)) == 30
    assert f"images from {root / 'images_64'}: 30 of 50 are there" in data.notes
    assert sum(data.missing.values()) == 20 and data.missing["test"] == 10
    assert len(all_studies(ChestXray14(root=str(root), images_dir="images", allow_missing=True))) == 20


def test_first_of_equal_folders_is_taken(root):
    (root / "images_copy").mkdir()
    for path in (root / "images").iterdir():
        (root / "images_copy" / path.name).write_bytes(path.read_bytes())
    chosen = choose_images(ChestXray14(root=str(root)), names(range(1, 26)))
    assert Path(chosen["00000001_000.png"]).parent.name == "images"


def test_validation_patients_do_not_depend_on_which_images_are_there(root):
    whole = {study.id for study in ChestXray14(root=str(root)).studies("val")}
    gone = names(range(1, 11))
    for name in gone:
        (root / "images" / name).unlink()
    part = {study.id for study in ChestXray14(root=str(root), allow_missing=True).studies("val")}
    assert part == {name for name in whole if f"{name}.png" not in gone}


def test_boxes_are_shares_of_1024_pixels_under_the_labels_own_names(root):
    """x 256, y 512, w 128, h 64 of 1024; the box list says Infiltrate where the table says Infiltration."""
    box_file(
        root,
        "00000021_001.png,Effusion,256,512,128,64",
        "00000021_001.png,Infiltrate,0,0,1024,1024",
        "00000022_001.png,Cardiomegaly,225.084745762712,547.019216763771,86.7796610169491,79.1864406779661",
    )
    data = ChestXray14(root=str(root))
    studies = {study.id: study for study in data.index}
    assert studies["00000021_001"].boxes == (
        Box("pleural_effusion", 0.25, 0.5, 0.125, 0.0625),
        Box("infiltration", 0.0, 0.0, 1.0, 1.0),
    )
    (box,) = studies["00000022_001"].boxes
    assert box.x == pytest.approx(0.2198093220338984) and box.height == pytest.approx(0.07733050847457627)
    assert studies["00000021_000"].boxes == ()
    assert data.faults == [] and "3 boxes from BBox_List_2017.csv" in data.notes


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("00000021_001.png,Effusion,256,512,,64", r"its box is not four numbers from 0 on \(''\) in column 'w'"),
        ("00000021_001.png,Effusion,256,512,wide,64", "its box is not four numbers from 0 on"),
        ("00000021_001.png,Effusion,256,512,nan,64", "its box is not four numbers from 0 on"),
        ("00000021_001.png,Effusion,-1,512,10,64", "its box is not four numbers from 0 on"),
        ("00000021_001.png,Effusion,256,-0.5,10,64", "its box is not four numbers from 0 on"),
        ("00000021_001.png,Effusion,256,512,0,64", "its box is not inside"),
        ("00000021_001.png,Effusion,256,512,10,-64", "its box is not four numbers from 0 on"),
        (
            "00000021_001.png,Effusion,256,512,769,64",
            r"its box is not inside 1024 x 1024 pixels \('256, 512, 769, 64'\) in column 'Bbox \[x, y, w, h\]'",
        ),
        ("00000021_001.png,Effusion,256,512,10,512.5", "its box is not inside"),
        ("00000021_001.png,Efusion,256,512,10,64", r"unknown Finding Label \('Efusion'\)"),
        (",Effusion,256,512,10,64", "column 'Image Index' is empty"),
        ("00000021_001.png,Effusion,256,512,10,64,,,,7", "has 10 cells, more than the 9"),
    ],
)
def test_a_box_that_cannot_be_used_is_a_fault_and_the_others_stay(root, line, why):
    box_file(root, line, "00000021_001.png,Mass,512,512,512,512")
    data = ChestXray14(root=str(root))
    assert {s.id: s.boxes for s in data.index if s.boxes} == {"00000021_001": (Box("mass", 0.5, 0.5, 0.5, 0.5),)}
    ((where, reason),) = data.faults
    assert where == "BBox_List_2017.csv:2" and re.search(why, reason)


@pytest.mark.parametrize(
    ("old", "new", "where", "why", "left"),
    [
        ("Effusion|Mass", "Efusion|Mass", 3, r"Finding Labels must be .* got \('Efusion\|Mass'\)", 49),
        ("Pneumonia", "No Finding|Mass", 4, r"or 'No Finding' alone; got \('No Finding\|Mass'\)", 49),
        ("Pneumonia", "", 4, r"got \(''\)", 49),
        ("Pneumonia", "Mass|", 4, r"got \('Mass\|'\)", 49),
        ("00000003_000.png", "00000003_001.png", 7, r"is listed before \('00000003_001.png'\)", 49),
        ("00000003_000.png", "", 6, "column 'Image Index' is empty", 49),
        ("00000003_000.png", "nan", 6, "column 'Image Index' is empty", 49),
        ("00000002_000.png,Pneumonia,0,2,", "00000002_000.png,Pneumonia,0,nan,", 4, "column 'Patient ID' is empty", 49),
        (
            "00000002_000.png,Pneumonia,0,2,",
            "00000002_000.png,Pneumonia,0,None,",
            4,
            "column 'Patient ID' is empty",
            49,
        ),
        ("00000002_000.png", "../images/00000002_000.png", 4, "image path leads out of the image folder", 49),
        ("00000002_000.png", "..\\images\\00000002_000.png", 4, "image path leads out of the image folder", 49),
        ("0.143,0.143", "0.143,0.143,0,1", 2, "has 13 cells, more than the 11", 49),
    ],
)
def test_a_row_that_cannot_be_used_is_a_fault_with_its_line(root, old, new, where, why, left):
    """Line 2 is the first row. One fault in 50 rows is 2 %: refused at 1 %, said and left out at 5 %."""
    replace(root / TABLE, old, new)
    data = ChestXray14(root=str(root), max_bad_share=0.05)
    data.check()
    ((place, reason),) = data.bad
    assert place == f"{TABLE}:{where}" and re.search(why, reason)
    assert len(all_studies(data)) == left
    with pytest.raises(DataError, match=f"1 of 50 .*first: {TABLE}:{where}: "):
        ChestXray14(root=str(root)).check()


def broken(change, *, reason: str, **settings):
    return pytest.param(change, reason, settings, id=reason[:30])


@pytest.mark.parametrize(
    ("change", "reason", "settings"),
    [
        broken(lambda r: replace(r / TABLE, "Finding Labels", "Labels"), reason="no column 'Finding Labels'. Did you"),
        broken(lambda r: replace(r / TABLE, "Patient ID", "Patient"), reason="no column 'Patient ID'"),
        broken(lambda r: replace(r / TABLE, "00000003_000", "00000033_000"), reason="1 rows are in neither of"),
        broken(lambda r: replace(r / "test_list.txt", "00000021_000", "00000001_000"), reason="1 rows are in both"),
        broken(lambda r: (r / TABLE).write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe"), reason="it is a PNG image"),
        broken(lambda r: (r / TABLE).write_bytes(b""), reason=r"cannot be read as a table \(it is empty"),
        broken(lambda r: (r / TABLE).unlink(), reason="has none of Data_Entry_2017_v2020.csv, "),
        broken(lambda r: (r / "test_list.txt").unlink(), reason=r"none of test_list.txt \(nor gzipped"),
        broken(lambda r: (r / "test_list.txt").write_bytes(b""), reason="test_list.txt: names no image"),
        broken(lambda r: None, reason="other.csv: cannot be read as a table", index_file="other.csv"),
        broken(lambda r: (r / "images" / "00000003_000.png").unlink(), reason="1 of .*00000003_000.*allow_missing"),
        broken(lambda r: None, reason="No image of the table.*data.images_dir", images_dir="pictures"),
        broken(lambda r: box_file(r) or replace(r / "BBox_List_2017.csv", "Bbox [x", "x"), reason="no column 'Bbox"),
    ],
)
def test_a_broken_download_is_an_error_that_says_where(root, change, reason, settings):
    change(root)
    with pytest.raises(DataError, match=reason):
        ChestXray14(root=str(root), **settings).check()


@pytest.mark.parametrize("name", [TABLE, "train_val_list.txt", "BBox_List_2017.csv"])
@pytest.mark.parametrize("keep", [12, 60])
def test_a_gzip_file_that_is_cut_off_or_spoilt_is_an_error(root, name, keep):
    box_file(root, *(f"{image},Mass,1,2,{number},4" for number, image in enumerate(names(range(21, 26)), start=1)))
    whole = gzip.compress((root / name).read_bytes())
    (root / name).unlink()
    for content in (whole[:keep], whole[:10] + b"\x07" * keep):
        (root / f"{name}.gz").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}.gz: cannot be read as a "):
            index(root)


def test_no_such_root():
    with pytest.raises(DataError, match=r"data.root: /nowhere/nih is no folder"):
        ChestXray14(root="/nowhere/nih").studies("train")


def test_bad_fraction():
    with pytest.raises(ValueError, match=r"val_fraction must be in \(0, 1\), got 1"):
        ChestXray14(root="x", val_fraction=1.0)


def test_check_counts_bad_images_and_leaves_out_few(root, tmp_path):
    """One truncated and one text file of 50: 4 %, refused at 1 %, left out at 5 %."""
    cut, text = root / "images" / "00000003_000.png", root / "images" / "00000021_001.png"
    cut.write_bytes(cut.read_bytes()[:50])
    text.write_text("a web page that says: not found")
    report = tmp_path / "reports" / "bad.tsv"
    data = ChestXray14(root=str(root))
    with pytest.raises(DataError, match=r"2 of 50 studies and rows cannot be used \(4.0%.*bad.tsv.*max_bad_share=0.01"):
        data.check(report_path=report)
    lines = [line.split("\t") for line in report.read_text().splitlines()]
    assert [Path(reference).name for reference, _ in lines] == [cut.name, text.name]
    assert "truncated" in lines[0][1] and "not an image" in lines[1][1]

    data = ChestXray14(root=str(root), max_bad_share=0.05)
    data.check()
    data.check()
    assert [Path(reference).name for reference, _ in data.bad] == [cut.name, text.name]
    assert len(all_studies(data)) == 48


def test_rows_of_the_helper_have_as_many_cells_as_the_official_header():
    assert len(HEADER.split(",")) == len(row("00000001_000.png", "Mass").split(",")) == 11


def test_large_set_is_looked_at_file_by_file_and_decoded_in_part(root, monkeypatch, caplog):
    """50 images count as many: 5 are decoded. An empty file is found wherever it is; sizes alone enter the hash."""
    monkeypatch.setattr("data_modules.base.SMALL_SET", 20)
    monkeypatch.setattr("data_modules.loading.checks.SAMPLE", 5)
    empty, changed = root / "images" / "00000003_000.png", root / "images" / "00000004_000.png"
    empty.write_bytes(b"")
    data = ChestXray14(root=str(root), max_bad_share=0.05)
    with caplog.at_level(logging.INFO, logger="data_modules.loading.checks"):
        data.check()
    assert "5 of 50 studies are decoded, of the others the files are looked at" in caplog.text
    ((reference, reason),) = data.bad
    assert reference == str(empty) and "empty file" in reason
    assert len(data._cache) <= 5
    before = data.fingerprint()
    changed.write_bytes(bytes(changed.stat().st_size))
    assert data.fingerprint() == before
    changed.write_bytes(b"other size")
    assert data.fingerprint() != before


sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample is not here")


@sample
def test_the_real_table_lists_and_boxes():
    """Published: 112,120 images of 30,805 patients, 86,524 to train and validate and 25,596 to test; 984 boxes on 880
    images of the test list; the first of them is at 225.08, 547.02 and 86.78 x 79.19 pixels of 1024."""
    assert len(read_list(SAMPLE / "train_val_list.txt.gz")) == 86_524
    assert len(read_list(SAMPLE / "test_list.txt.gz")) == 25_596
    data = ChestXray14(root=str(SAMPLE), allow_missing=True)
    studies = data.index
    assert data.faults == [] and len(studies) == 112_120
    splits = Counter(study.split for study in studies)
    assert splits["train"] + splits["val"] == 86_524 and splits["test"] == 25_596
    patients = {split: {study.patient for study in studies if study.split == split} for split in splits}
    assert sum(map(len, patients.values())) == 30_805
    assert len(patients["val"]) == round(0.15 * (30_805 - len(patients["test"])))
    assert Counter(study.views for study in studies) == {("PA",): 67_310, ("AP",): 44_810}
    assert Counter(name for study in studies for name in present(study)) == {
        "atelectasis": 11_559,
        "cardiomegaly": 2_776,
        "consolidation": 4_667,
        "edema": 2_303,
        "emphysema": 2_516,
        "fibrosis": 1_686,
        "hernia": 227,
        "infiltration": 19_894,
        "mass": 5_782,
        "nodule": 6_331,
        "pleural_effusion": 13_317,
        "pleural_thickening": 3_385,
        "pneumonia": 1_431,
        "pneumothorax": 5_302,
    }
    assert sum(not present(study) for study in studies) == 60_361
    boxed = [study for study in studies if study.boxes]
    assert len(boxed) == 880 and {study.split for study in boxed} == {"test"}
    assert all(box.finding in present(study) for study in boxed for box in study.boxes)
    assert Counter(box.finding for study in boxed for box in study.boxes) == {
        "atelectasis": 180,
        "pleural_effusion": 153,
        "cardiomegaly": 146,
        "infiltration": 123,
        "pneumonia": 120,
        "pneumothorax": 98,
        "mass": 85,
        "nodule": 79,
    }
    (box,) = next(study.boxes for study in boxed if study.id == "00013118_008")
    assert (box.x, box.y, box.width, box.height) == pytest.approx(
        (0.2198093220339, 0.5341984538709, 0.0847457627119, 0.0773305084746)
    )


@sample
def test_real_images():
    """1,000 images at 64 px and 5 at 512: together the 694 train_val and 311 test rows of the sample's index."""
    small = ChestXray14(root=str(SAMPLE), allow_missing=True)
    large = ChestXray14(root=str(SAMPLE), images_dir="images", allow_missing=True)
    found = all_studies(small)
    assert len(found) == 1_000 and sum(small.missing.values()) == 111_120
    assert len(all_studies(large)) == 5
    listed = [*found.values(), *all_studies(large).values()]
    assert Counter(study.split == "test" for study in listed) == {False: 694, True: 311}
    rows = pd.read_csv(SAMPLE / "index.csv")
    effusion = rows["Finding Labels"].str.contains("Effusion").sum()
    assert sum(study.findings["pleural_effusion"] for study in listed) == effusion == 170
    small.check()
    assert small.bad == []
    assert small.images(small.studies("test")[0])[0].size == (64, 64)


@sample
def test_real_sample_without_permission_is_an_error():
    with pytest.raises(DataError, match=r"of 72,958 images of split 'train' are not there.*data.allow_missing=true"):
        ChestXray14(root=str(SAMPLE)).studies("train")
