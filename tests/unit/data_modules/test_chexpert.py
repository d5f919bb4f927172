"""CheXpert: the official layout in small, its traps, and each way the download can be broken."""

from __future__ import annotations

import gzip
import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning.errors import DataError
from apo_lightning.findings import CHEXPERT, COMPETITION, canonical
from apo_lightning.types import Study
from data_modules.chexpert import LABELS, CheXpert
from tests.helpers.chexpert_folder import ARCHIVE, EXPERT, HEADER, by_study, chexpert_folder, draw, places, row, table

FIRST = "train/patient00001/study1/view1_frontal.jpg"
ZERO = dict.fromkeys(LABELS, "0.0")


@pytest.fixture
def root(tmp_path) -> Path:
    return chexpert_folder(tmp_path)


def index(root: Path, **settings) -> dict[str, Study]:
    """Id to study, without looking for images."""
    return {study.id: study for study in CheXpert(root=str(root), **settings).index}


def extend(root: Path, *lines: str, split: str = "train") -> None:
    with (root / ARCHIVE / f"{split}.csv").open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def present(study: Study) -> set[str]:
    return {name for name, value in study.findings.items() if value == 1.0}


def test_the_official_first_row(root):
    """No Finding and Support Devices are 1, Pneumothorax 0, the others empty, which counts as absent."""
    study = index(root)["patient00001/study1"]
    assert (study.patient, study.views, study.images) == ("patient00001", ("AP",), (str(root / ARCHIVE / FIRST),))
    assert study.findings == {**dict.fromkeys(CHEXPERT, 0.0), "no_finding": 1.0, "support_devices": 1.0}
    assert CheXpert.credentialed and set(COMPETITION) < set(CheXpert.vocabulary) == set(map(canonical, LABELS))


def test_studies_stand_in_table_order_under_their_patients(root):
    studies = index(root)
    assert {"patient00004/study1", "patient00004/study2"} <= set(studies)
    assert len({study.patient for study in studies.values() if study.split in ("train", "val")}) == 24 + 4
    order = [study.id for study in CheXpert(root=str(root)).index if study.split == "train"]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("uncertain", "unmentioned", "cardiomegaly", "edema", "fracture"),
    [
        ("ignore", "absent", math.nan, math.nan, 0.0),
        ("zeros", "absent", 0.0, 0.0, 0.0),
        ("ones", "absent", 1.0, 1.0, 0.0),
        ("mixed", "absent", 0.0, 1.0, 0.0),
        ("mixed", "unknown", 0.0, 1.0, math.nan),
        ("ignore", "unknown", math.nan, math.nan, math.nan),
    ],
)
def test_policies(root, uncertain, unmentioned, cardiomegaly, edema, fracture):
    """Second row: Cardiomegaly and Edema are -1, Pleural Effusion 1, Fracture is empty."""
    found = index(root, uncertain=uncertain, unmentioned=unmentioned)["patient00002/study1"].findings
    assert [found["cardiomegaly"], found["edema"], found["fracture"]] == pytest.approx(
        [cardiomegaly, edema, fracture], nan_ok=True
    )
    assert found["pleural_effusion"] == 1.0


def test_no_finding_makes_diseases_absent_even_where_silence_is_unknown(root):
    found = index(root, unmentioned="unknown")["patient00001/study1"].findings
    assert found["edema"] == 0.0 and found["pneumothorax"] == 0.0


def test_images_are_ordered_pa_ap_others_lateral_and_cut(root):
    base = "train/patient00099/study1"
    extend(
        root,
        row(f"{base}/view1_lateral.jpg", ZERO),
        row(f"{base}/view2_frontal.jpg", ZERO, view="AP"),
        row(f"{base}/view3_frontal.jpg", ZERO, view="LL"),
        row(f"{base}/view4_frontal.jpg", ZERO, view="PA"),
        row(f"{base}/view5_frontal.jpg", ZERO, view=""),
    )
    both = ["lateral", "frontal"]
    whole = index(root, views=both, max_images=9)["patient00099/study1"]
    assert whole.views == ("PA", "AP", "LL", "", "LATERAL")
    assert [Path(image).name[:5] for image in whole.images] == ["view4", "view2", "view3", "view5", "view1"]
    assert index(root, views=both, max_images=2)["patient00099/study1"].views == ("PA", "AP")
    assert index(root)["patient00099/study1"].views == ("PA",)
    assert index(root, max_images=9)["patient00099/study1"].views == ("PA", "AP", "LL", "")
    assert index(root, views=["lateral"], max_images=9)["patient00099/study1"].views == ("LATERAL",)


def test_studies_without_a_wanted_image_are_counted(root):
    """Training patients 3, 6, ... 24 have a lateral image: 8 of 30 studies; 64542 of validation, 64743 of test."""
    extend(root, row("train/patient00099/study1/view1_lateral.jpg", ZERO))
    data = CheXpert(root=str(root), views=["frontal"])
    assert "patient00099/study1" not in {study.id for study in data.index}
    assert data.left_out == {"no frontal image": 1} and data.faults == []
    data = CheXpert(root=str(root), views=["lateral"])
    lateral = {study.id for study in data.index}
    assert lateral == {
        f"patient{n:05d}/study1"
        for n in [*range(3, 25, 3), 99, *(p for p in range(64541, 64746) if p % 3 == 0)]
        if n < 100 or n in range(64541, 64545) or n in range(64741, 64746)
    }
    studies = sum(
        len(by_study(places("", numbers))) for numbers in (range(1, 25), range(64541, 64545), range(64741, 64746))
    )
    assert data.left_out == {"no lateral image": studies + 1 - len(lateral)}
    assert CheXpert(root=str(root), views=["frontal", "lateral"]).index and not CheXpert(root=str(root)).left_out


def test_views_come_from_file_names_where_the_table_has_no_such_columns(root):
    path = root / ARCHIVE / "train.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("".join(",".join([*cells[:3], *cells[5:]]) + "\n" for cells in lines))
    study = index(root, views=["frontal", "lateral"], max_images=2)["patient00003/study1"]
    assert study.views == ("", "LATERAL")


def test_with_a_test_set_the_official_validation_part_validates(root):
    data = CheXpert(root=str(root))
    splits = {split: [study.id for study in data.studies(split)] for split in ("train", "val", "test")}
    assert splits["val"] == [
        "patient64541/study1",
        "patient64542/study1",
        "patient64543/study1",
        "patient64544/study1",
        "patient64544/study2",
    ]
    assert splits["test"][0] == "patient64741/study1" and len(splits["train"]) == 30
    assert [present(study) for study in data.studies("test")[:3]] == [
        {canonical(name) for name in labels} for labels in EXPERT
    ]
    assert present(data.studies("val")[1]) == {"no_finding"}
    data.check()
    assert data.bad == [] and "no test set" not in " ".join(data.notes)


def test_images_of_a_test_study_are_those_of_its_folder(root):
    """groundtruth.csv names studies; the folder of patient 64743 has a frontal and a lateral image."""
    study = index(root, views=["frontal", "lateral"], max_images=5)["patient64743/study1"]
    assert [Path(image).name for image in study.images] == ["view1_frontal.jpg", "view2_lateral.jpg"]
    assert study.views == ("", "LATERAL")
    assert Path(study.images[0]).parent == root / "CheXpert/test/patient64743/study1"
    shutil.rmtree(root / "CheXpert/test/patient64743")
    data = CheXpert(root=str(root))
    with pytest.raises(DataError, match=r"1 of 6 images of split 'test' are not there.*64743.study1.view1_frontal"):
        data.studies("test")


def test_test_labels_by_image(root):
    (root / "CheXpert/groundtruth.csv").unlink()
    lines = [
        ",".join([place, *({**ZERO, "Edema": "1.0"} if "64742" in place else ZERO).values()])
        for place in places("test", range(64741, 64746))
    ]
    table(root / "CheXpert/test_labels.csv", lines, ",".join(["Path", *LABELS]))
    data = CheXpert(root=str(root))
    assert {study.id: present(study) for study in data.studies("test")} == {
        f"patient{n}/study{s}": {"edema"} if n == 64742 else set()
        for n, s in ((64741, 1), (64742, 1), (64743, 1), (64744, 1), (64744, 2), (64745, 1))
    }
    data.check()


@pytest.mark.parametrize("place", [".", "test", ARCHIVE, f"{ARCHIVE}/test", f"{ARCHIVE}/CheXpert"])
@pytest.mark.parametrize("gz", [False, True])
def test_the_test_set_is_found_wherever_it_is_put(root, place, gz):
    folder, labels = root / place, root / "CheXpert/groundtruth.csv"
    images = folder if folder.name == "test" else folder / "test"
    images.parent.mkdir(parents=True, exist_ok=True)
    (root / "CheXpert/test").rename(images)
    if gz:
        (folder / "groundtruth.csv.gz").write_bytes(gzip.compress(labels.read_bytes()))
        labels.unlink()
    else:
        labels.rename(folder / "groundtruth.csv")
    studies = CheXpert(root=str(root)).studies("test")
    assert len(studies) == 6 and Path(studies[0].images[0]).is_relative_to(images)


def test_without_a_test_set_the_official_validation_part_is_tested_on(tmp_path):
    """24 training patients, val_fraction .25: 6 validate, all their studies with them."""
    root = chexpert_folder(tmp_path, test=False)
    data = CheXpert(root=str(root), val_fraction=0.25)
    assert [study.id for study in data.studies("test")][:2] == ["patient64541/study1", "patient64542/study1"]
    assert len({study.patient for study in data.studies("val")}) == 6
    assert len(data.studies("val")) + len(data.studies("train")) == 30
    data.check()
    assert "no test set: valid.csv is tested on, and validation is cut from the training patients" in data.notes


def test_test_images_without_labels_are_not_used_and_that_is_said(root):
    (root / "CheXpert/groundtruth.csv").unlink()
    data = CheXpert(root=str(root))
    assert {study.patient for study in data.studies("test")} == {f"patient{n}" for n in range(64541, 64545)}
    assert any("CheXpert/test is not used: neither groundtruth.csv nor test_labels.csv" in note for note in data.notes)


def test_root_is_the_archive_or_the_folder_above_it(root):
    above = CheXpert(root=str(root))
    inner = CheXpert(root=str(root / ARCHIVE))
    assert {study.id for study in inner.studies("test")} == {study.id for study in above.studies("val")}
    assert f"archive: {root / ARCHIVE}" in above.notes and f"archive: {root / ARCHIVE}" in inner.notes


@pytest.mark.parametrize("name", ["CheXpert-v1.0", "a/b/CheXpert-v1.0", ""])
def test_any_archive_name_in_path_is_cut(root, name):
    path = root / ARCHIVE / "train.csv"
    path.write_text(path.read_text().replace(f"{ARCHIVE}/", f"{name}/" if name else ""))
    assert index(root)["patient00001/study1"].images == (str(root / ARCHIVE / FIRST),)
    path.write_text(
        path.read_text().replace("/", "\\").replace("Frontal\\Lateral", "Frontal/Lateral").replace("AP\\PA", "AP/PA")
    )
    assert index(root)["patient00001/study1"].images == (str(root / ARCHIVE / FIRST),)


def test_the_four_parts_of_the_full_size(tmp_path):
    """Tables and validation images in the first, training patients straight in the others."""
    root = chexpert_folder(tmp_path)
    archive = root / "CheXpert-v1.0 batch 1 (validate & csv)"
    (root / ARCHIVE).rename(archive)
    for path in sorted((archive / "train").iterdir()):
        part = root / f"CheXpert-v1.0 batch {2 + int(path.name[-2:]) % 3} (train {1 + int(path.name[-2:]) % 3})"
        part.mkdir(exist_ok=True)
        path.rename(part / path.name)
    (archive / "train").rmdir()
    data = CheXpert(root=str(root))
    data.check()
    assert len(data.studies("train")) == 30
    assert Path(data.studies("train")[0].images[0]).parts[-4:-1] == (
        "CheXpert-v1.0 batch 3 (train 2)",
        "patient00001",
        "study1",
    )


def test_images_dir_holds_the_split_folders(root):
    (root / "png").mkdir()
    (root / ARCHIVE / "train").rename(root / "png/train")
    (root / ARCHIVE / "valid").rename(root / "png/valid")
    (root / "CheXpert/test").rename(root / "png/test")
    data = CheXpert(root=str(root), images_dir="png")
    data.check()
    assert len(data.studies("test")) == 6
    assert index(root, images_dir="png")["patient00001/study1"].images == (str(root / "png" / FIRST),)


def test_other_labels_of_the_training_images(root):
    (root / ARCHIVE / "train.csv").rename(root / "train_cheXbert.csv")
    assert index(root, index_file="train_cheXbert.csv")["patient00001/study1"].findings["support_devices"] == 1.0
    (root / "train_cheXbert.csv").rename(root / ARCHIVE / "train_cheXbert.csv")
    assert len(index(root, index_file="train_cheXbert.csv")) == 30 + 5 + 6


NEW = "train/patient00098/study1/view1_frontal.jpg"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (row(NEW, {**ZERO, "Edema": "2.0"}), r"'Edema' is none of -1, 0, 1, nor empty \('2.0'\)"),
        (row(NEW, {**ZERO, "Edema": "yes"}), r"'Edema' is none of .* \('yes'\)"),
        (row("train/98.jpg", ZERO), "Path does not end in split, patient, study and file"),
        (row("train/98/study1/view1_frontal.jpg", ZERO), "Path does not end in"),
        (row("../patient00098/study1/view1_frontal.jpg", ZERO), "image path leads out of data.root"),
        (row("train/patient00098/study1/..", ZERO), "image path leads out of data.root"),
        (row(FIRST, ZERO), f"is listed before .*{FIRST}"),
        (row(NEW, ZERO).replace(f"{ARCHIVE}/{NEW}", ""), "column 'Path' is empty"),
        (row(NEW, ZERO).replace(f"{ARCHIVE}/{NEW}", "nan"), "column 'Path' is empty"),
        (row(NEW, ZERO) + ",1.0", "has 20 cells, more than the 19"),
        (row("train/patient00001/study1/view7_lateral.jpg", ZERO), None),
    ],
)
def test_a_row_that_cannot_be_used_is_a_fault_with_its_line(root, line, why):
    """The added row is the last line; the 30 studies stay. In the last case its labels differ from its study's, so
    that the whole study is left out, named by its first line."""
    extend(root, line)
    lines = len((root / ARCHIVE / "train.csv").read_text().splitlines())
    data = CheXpert(root=str(root))
    trained = [study.id for study in data.index if study.split == "train"]
    ((where, reason),) = data.faults
    if why is None:
        assert where == "train.csv:2" and "images of one study have different labels ('patient00001/study1')" in reason
        assert len(trained) == 29 and "patient00001/study1" not in trained
    else:
        assert where == f"train.csv:{lines}" and re.search(why, reason)
        assert len(trained) == 30
    with pytest.raises(DataError, match=r"1 of \d+ studies and rows cannot be used"):
        data.check()


def test_uncertain_expert_labels_are_faults(root):
    edit(root / ARCHIVE / "valid.csv", ",1,", ",-1,")
    edit(root / "CheXpert/groundtruth.csv", "study1,0", "study1,-1")
    data = CheXpert(root=str(root))
    assert len([study for study in data.index if study.split == "val"]) == 4
    assert [where for where, _ in data.faults] == ["valid.csv:2", "groundtruth.csv:2"]
    assert all("is none of 0, 1, nor empty ('-1" in why for _, why in data.faults)


def test_a_study_in_two_splits_is_an_error(root):
    extend(root, row("train/patient64541/study1/view1_frontal.jpg", EXPERT[0], rest="0.0"))
    draw(root / ARCHIVE / "train/patient64541/study1/view1_frontal.jpg", 0)
    with pytest.raises(DataError, match="1 study ids occur twice: patient64541/study1"):
        CheXpert(root=str(root)).check()


def test_age_zero_and_unknown_sex_change_nothing(root):
    before = CheXpert(root=str(root)).index
    edit(root / ARCHIVE / "train.csv", "Female,68", "Unknown,0")
    data = CheXpert(root=str(root))
    assert repr(data.index) == repr(before) and data.faults == []


def test_byte_order_mark_crlf_semicolons_and_gzip(root):
    before = repr(CheXpert(root=str(root)).index)
    path = root / ARCHIVE / "train.csv"
    text = path.read_text().replace(",", ";").replace("\n", "\r\n")
    path.unlink()
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    assert repr(CheXpert(root=str(root)).index) == before


@pytest.mark.parametrize("name", [f"{ARCHIVE}/train.csv", f"{ARCHIVE}/valid.csv", "CheXpert/groundtruth.csv"])
def test_a_table_without_rows_is_an_error_that_names_it(root, name):
    (root / name).write_text((root / name).read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match=f"{name}: has a header, and no row below it"):
        CheXpert(root=str(root)).check()


@pytest.mark.parametrize("word", ["nan", "-", "yes", "TRUE", "2.5", "1,0"])
def test_a_label_that_is_none_in_every_row_is_the_reason_that_is_said(root, word):
    """Not that there are no studies, which comes of it."""
    path = root / ARCHIVE / "train.csv"
    rows = pd.read_csv(path, dtype=str).assign(Edema=word)
    rows.to_csv(path, index=False)
    why = f"train.csv:2: 'Edema' is none of -1, 0, 1, nor empty ('{word}'). None of the {len(rows)} rows can be used"
    with pytest.raises(DataError, match=re.escape(why)):
        CheXpert(root=str(root)).check()


@pytest.mark.parametrize(("column", "word"), [("Frontal/Lateral", "Oblique"), ("AP/PA", "PAA")])
def test_an_unknown_side_or_projection_is_a_fault(root, column, word):
    path = root / ARCHIVE / "train.csv"
    rows = pd.read_csv(path, dtype=str)
    rows.loc[2, column] = word
    rows.to_csv(path, index=False)
    data = CheXpert(root=str(root))
    assert len(data.index)
    ((where, why),) = data.faults
    assert where == "train.csv:4" and f"('{word}') in column '{column}'" in why


def broken(change, reason, **settings):
    return pytest.param(change, reason, settings, id=reason[:30])


@pytest.mark.parametrize(
    ("change", "reason", "settings"),
    [
        broken(lambda r: shutil.rmtree(r / ARCHIVE), "has no train.csv or valid.csv, nor has a folder in it"),
        broken(lambda r: shutil.copytree(r / ARCHIVE, r / "CheXpert-v1.0"), "has 2 archives: CheXpert-v1.0, CheX"),
        broken(lambda r: (r / ARCHIVE / "train.csv").unlink(), "none of train.csv"),
        broken(lambda r: (r / ARCHIVE / "valid.csv").unlink(), "none of valid.csv"),
        broken(lambda r: None, "none of other.csv", index_file="other.csv"),
        broken(lambda r: edit(r / ARCHIVE / "train.csv", "Path", "File"), "train.csv has no column 'Path'"),
        broken(lambda r: edit(r / ARCHIVE / "valid.csv", "Edema", "Oedema"), "no column 'Edema'. Did you mean 'Oed"),
        broken(lambda r: edit(r / "CheXpert/groundtruth.csv", "Study", "S"), "groundtruth.csv has no column 'Study'"),
        broken(lambda r: (r / ARCHIVE / "train.csv").write_bytes(b""), "cannot be read as a table .it is empty"),
        broken(lambda r: (r / ARCHIVE / "train.csv").write_text(HEADER + '\n"a'), "the quote opened on line 2 is "),
        broken(lambda r: (r / ARCHIVE / FIRST).unlink(), "1 of 30 images of split 'train' are .*00001.study1"),
        broken(lambda r: shutil.rmtree(r / ARCHIVE / "train"), r"30 of 30 images of split 'train' are not there"),
        broken(lambda r: shutil.rmtree(r / "CheXpert/test"), r"6 of 6 images of split 'test' are not there"),
    ],
)
def test_a_broken_download_is_an_error_that_says_where(root, change, reason, settings):
    change(root)
    with pytest.raises(DataError, match=reason):
        CheXpert(root=str(root), **settings).check()


def test_allowed_missing_images_are_counted(root):
    (root / ARCHIVE / FIRST).unlink()
    data = CheXpert(root=str(root), allow_missing=True)
    data.check()
    assert data.missing == {"train": 1} and len(data.studies("train")) == 29


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"max_images": 0}, "max_images must be >= 1, got 0"),
        ({"views": []}, r"views must be one or both of frontal, lateral, got \[\]"),
        ({"views": ["frontal", "oblique"]}, r"views must be .*, got \['frontal', 'oblique'\]"),
        ({"uncertain": "u-ones"}, "uncertain must be one of ignore, zeros, ones, mixed, got 'u-ones'"),
        ({"unmentioned": "nan"}, "unmentioned must be one of absent, unknown, got 'nan'"),
    ],
)
def test_settings_out_of_range(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        CheXpert(root="x", **wrong)


def test_two_images_of_a_study_are_opened_in_order(root):
    data = CheXpert(root=str(root), views=["frontal", "lateral"], max_images=2)
    study = next(study for study in data.studies("train") if study.id == "patient00003/study1")
    frontal, lateral = data.images(study)
    assert lateral.getpixel((0, 0)) == frontal.getpixel((0, 0)) + 1
