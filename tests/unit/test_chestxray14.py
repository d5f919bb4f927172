"""NIH ChestX-ray14: the official layout in small, each way it can be broken, and the real sample where it exists."""

from __future__ import annotations

import gzip
import logging
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning.errors import DataError
from data_modules.base import CANONICAL
from data_modules.chestxray14 import ChestXray14, choose_images, read_list
from tests.helpers.chestxray14_folder import HEADER, names, nih_folder, row

SAMPLE = Path(__file__).parents[3] / "shared/data/nih_chestxray14_sample"
TABLE = "Data_Entry_2017_v2020.csv"


@pytest.fixture
def root(tmp_path) -> Path:
    return nih_folder(tmp_path)


def all_studies(data: ChestXray14) -> dict:
    return {study.id: study for split in ("train", "val", "test") for study in data.studies(split)}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_labels_of_a_row(root):
    """Second row: Effusion|Mass. Mass is not one of the seven; Effusion is pleural_effusion."""
    studies = all_studies(ChestXray14(root=str(root)))
    assert dict(studies["00000001_000"].findings) == dict.fromkeys(CANONICAL, 0.0)
    assert dict(studies["00000001_001"].findings) == {**dict.fromkeys(CANONICAL, 0.0), "pleural_effusion": 1.0}
    present = {name for name, value in studies["00000002_001"].findings.items() if value == 1.0}
    assert present == {"cardiomegaly", "edema", "pleural_effusion"}
    assert studies["00000002_001"].patient == "2"
    assert studies["00000002_001"].images == (str(root / "images" / "00000002_001.png"),)


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
    assert {study_id: s.findings for study_id, s in all_studies(ChestXray14(root=str(root))).items()} == plain


def test_parts_of_kaggles_layout_are_one_folder(root, caplog):
    images = sorted((root / "images").iterdir())
    for part, chosen in (("images_001", images[:20]), ("images_002", images[20:])):
        (root / part / "images").mkdir(parents=True)
        for path in chosen:
            path.rename(root / part / "images" / path.name)
    with caplog.at_level(logging.INFO, logger="data_modules.chestxray14"):
        assert len(all_studies(ChestXray14(root=str(root)))) == 50
    assert "50 of 50 rows" in caplog.text


def test_the_folder_that_covers_most_rows_is_taken_and_said(root, caplog):
    (root / "images_64").mkdir()
    for path in sorted((root / "images").iterdir())[:30]:
        path.rename(root / "images_64" / path.name)
    with caplog.at_level(logging.INFO, logger="data_modules.chestxray14"):
        data = ChestXray14(root=str(root), allow_missing=True)
        assert len(all_studies(data)) == 30
    assert f"read from {root / 'images_64'}: 30 of 50" in caplog.text
    assert "20 of 50 rows" in caplog.text
    assert data.missing == 20
    assert len(all_studies(ChestXray14(root=str(root), images_dir="images", allow_missing=True))) == 20


def test_validation_patients_do_not_depend_on_which_images_are_there(root):
    whole = {study.id for study in ChestXray14(root=str(root)).studies("val")}
    gone = names(range(1, 11))
    for name in gone:
        (root / "images" / name).unlink()
    part = {study.id for study in ChestXray14(root=str(root), allow_missing=True).studies("val")}
    assert part == {name for name in whole if f"{name}.png" not in gone}


def broken(change, *, reason: str, **settings):
    return pytest.param(change, reason, settings, id=reason[:30])


@pytest.mark.parametrize(
    ("change", "reason", "settings"),
    [
        broken(lambda r: replace(r / TABLE, "Finding Labels", "Labels"), reason="no column 'Finding Labels'. Found:"),
        broken(lambda r: replace(r / TABLE, "Patient ID", "Patient"), reason="no column 'Patient ID'"),
        broken(lambda r: replace(r / TABLE, "Effusion", "Efusion"), reason="unknown finding labels.*line 3.*Efusion"),
        broken(lambda r: replace(r / TABLE, "Pneumonia", "No Finding|Mass"), reason="line 4 with 'No Finding.Mass'"),
        broken(lambda r: replace(r / TABLE, "Pneumonia", ""), reason="'Finding Labels' is empty: 1 rows.*line 4"),
        broken(lambda r: replace(r / TABLE, "00000003_000.png", "00000003_001.png"), reason="listed twice: 1 rows"),
        broken(lambda r: replace(r / TABLE, "00000003_000", "00000033_000"), reason="1 rows are in neither of"),
        broken(lambda r: replace(r / "test_list.txt", "00000021_000", "00000001_000"), reason="1 rows are in both"),
        broken(lambda r: (r / TABLE).write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe"), reason="cannot be read as a CSV"),
        broken(lambda r: (r / TABLE).write_bytes(b""), reason="cannot be read as a CSV"),
        broken(lambda r: (r / TABLE).unlink(), reason="has none of Data_Entry_2017_v2020.csv, "),
        broken(lambda r: (r / "test_list.txt").unlink(), reason="none of test_list.txt, test_list.txt.gz"),
        broken(lambda r: None, reason="cannot be read as a CSV.*other.csv", labels_file="other.csv"),
        broken(lambda r: (r / "images" / "00000003_000.png").unlink(), reason="1 of 50 .*00000003_000.*allow_missing"),
        broken(lambda r: None, reason="No image of the table.*data.images_dir", images_dir="pictures"),
    ],
)  # fmt: skip
def test_a_broken_download_is_an_error_that_says_where(root, change, reason, settings):
    change(root)
    with pytest.raises(DataError, match=reason):
        ChestXray14(root=str(root), **settings).studies("train")


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
    with pytest.raises(DataError, match=r"2 of 50 studies cannot be read \(4.0%.*bad.tsv.*max_bad_share=0.01"):
        data.check(report_path=report)
    lines = [line.split("\t") for line in report.read_text().splitlines()]
    assert [Path(reference).name for reference, _ in lines] == [cut.name, text.name]
    assert "truncated" in lines[0][1] and "not an image" in lines[1][1]

    data = ChestXray14(root=str(root), max_bad_share=0.05)
    data.check()
    data.check()
    assert [Path(reference).name for reference, _ in data.bad] == [cut.name, text.name]
    assert len(all_studies(data)) == 48


def test_tiny_share_of_missing_columns_reads_like_the_official_header():
    assert len(HEADER.split(",")) == len(row("00000001_000.png", "Mass").split(",")) == 11


sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample is not here")


@sample
def test_real_lists_and_labels():
    """Published sizes: 86,524 + 25,596 = 112,120 rows; 13,317 with effusion; read in seconds, not minutes."""
    assert len(read_list(SAMPLE / "train_val_list.txt.gz")) == 86_524
    assert len(read_list(SAMPLE / "test_list.txt.gz")) == 25_596
    start = time.perf_counter()
    rows = ChestXray14(root=str(SAMPLE), allow_missing=True)._rows
    assert time.perf_counter() - start < 5
    assert len(rows) == 112_120
    assert rows["patient"].nunique() == 30_805
    assert rows["labels"].str.contains("Effusion").sum() == 13_317
    assert (rows["split"] == "test").sum() == 25_596
    val = rows[rows["split"] == "val"]["patient"].nunique()
    assert val == round(0.15 * rows[rows["split"] != "test"]["patient"].nunique())


@sample
def test_real_images():
    """1,000 images at 64 px and 5 at 512: together the 694 train_val and 311 test rows of the sample's index."""
    small = ChestXray14(root=str(SAMPLE), allow_missing=True)
    large = ChestXray14(root=str(SAMPLE), images_dir="images", allow_missing=True)
    found = all_studies(small)
    assert len(found) == 1_000 and small.missing == 111_120
    assert len(all_studies(large)) == 5
    listed = [*found.values(), *all_studies(large).values()]
    assert Counter(study.split == "test" for study in listed) == {False: 694, True: 311}
    index = pd.read_csv(SAMPLE / "index.csv")
    effusion = index["Finding Labels"].str.contains("Effusion").sum()
    assert sum(study.findings["pleural_effusion"] for study in listed) == effusion == 170
    small.check()
    assert small.bad == []
    assert small.images(small.studies("test")[0])[0].size == (64, 64)


@sample
def test_real_sample_without_permission_is_an_error():
    with pytest.raises(DataError, match=r"111,120 of 112,120 rows .* have no image.*data.allow_missing=true"):
        ChestXray14(root=str(SAMPLE)).studies("train")


def test_first_of_equal_folders_is_taken(root):
    (root / "images_copy").mkdir()
    for path in (root / "images").iterdir():
        (root / "images_copy" / path.name).write_bytes(path.read_bytes())
    chosen = choose_images(root, names(range(1, 26)), None)
    assert Path(chosen["00000001_000.png"]).parent.name == "images"


def test_large_set_is_looked_at_file_by_file_and_decoded_in_part(root, monkeypatch, caplog):
    """50 images count as many: 5 are decoded. An empty file is found wherever it is; sizes alone enter the hash."""
    monkeypatch.setattr("data_modules.base.SMALL_SET", 20)
    monkeypatch.setattr("data_modules.checks.SAMPLE", 5)
    empty, changed = root / "images" / "00000003_000.png", root / "images" / "00000004_000.png"
    empty.write_bytes(b"")
    data = ChestXray14(root=str(root), max_bad_share=0.05)
    with caplog.at_level(logging.INFO, logger="data_modules.checks"):
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
