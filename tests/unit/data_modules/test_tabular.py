"""The user's own table or DICOM folder: every rule with values worked out by hand, every way a table can be broken."""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apo_lightning.errors import DataError
from apo_lightning.types import Study
from data_modules.images import dicom_folder
from data_modules.images.dicom_folder import files_below
from data_modules.images.transforms import Refused, refuse_unreadable
from data_modules.tabular import Tabular
from tests.helpers.dicom_files import UID_ROOT, dicom_file
from tests.helpers.tabular_folder import draw, settings

DATA = Path(__file__).parents[4] / "shared/data"
GREY = np.full((4, 4), 9, np.uint8)
NAN = math.nan


def every(data: Tabular) -> dict[str, Study]:
    return {study.id: study for split in ("train", "val", "test") for study in data.studies(split)}


def told(data: Tabular) -> str:
    return "; ".join(data.notes)


def same(found, wanted: dict[str, float]) -> bool:
    return dict(found) == pytest.approx(wanted, nan_ok=True)


@pytest.fixture
def table(tmp_path):
    """A data module over a table of these rows (the first is the header), whose images are drawn."""

    def make(*rows: str, name: str = "table.csv", drawn: bool = True, **how) -> Tabular:
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
        with (tmp_path / name).open(encoding="utf-8", newline="") as file:
            cells = [row for row in csv.DictReader(file) if drawn]
        for number, cell in enumerate(cells):
            for image in (cell.get("image") or "").split("|"):
                if image and not image.startswith(("/", "..")):
                    draw(tmp_path / image.strip(), number)
        return Tabular(root=str(tmp_path), index_file=name, **how)

    return make


# --- labels


def test_columns_that_bear_a_findings_name_are_taken(table):
    """``Effusion`` is pleural_effusion; age is no finding."""
    data = table("image,patient,Age,Effusion,Lung Opacity,Mass", "a.png,1,57,1,0,-1", "b.png,2,60,,1,0")
    assert data.findings == data.vocabulary == ("lung_opacity", "mass", "pleural_effusion")
    studies = every(data)
    assert same(studies["a"].findings, {"lung_opacity": 0, "mass": NAN, "pleural_effusion": 1})
    assert same(studies["b"].findings, {"lung_opacity": 1, "mass": 0, "pleural_effusion": NAN})
    assert "labels from the columns Effusion, Lung Opacity, Mass" in told(data)
    assert data.faults == []


def test_two_columns_of_one_finding_are_refused_unless_one_is_chosen(table):
    lines = "image,patient,Effusion,pleural effusion", "a.png,1,1,0", "b.png,2,,1"
    with pytest.raises(
        DataError, match=r"table.csv: the columns 'Effusion' and 'pleural effusion' both name the finding"
    ):
        table(*lines).check()
    data = table(*lines, findings_columns={"pleural effusion": "effusion"})
    assert every(data)["a"].findings == {"pleural_effusion": 0}


@pytest.mark.parametrize("name", ["Patient", "patient_id", "PatientID", "Patient ID", "subject_id", "SUBJECT"])
def test_a_column_of_patients_under_another_name_is_not_passed_over(table, name):
    """Each study would count as a patient, and a split would part them."""
    lines = f"image,{name}", "a.png,1", "b.png,1"
    data = table(*lines)
    assert {study.patient for study in every(data).values()} == {"1"}
    assert f"patient: the column '{name}' (data.patient names another)" in told(data)
    assert {study.patient for study in every(table(*lines, patient=name)).values()} == {"1"}
    assert len({study.patient for study in every(table(*lines, patient=None)).values()}) == 2


@pytest.mark.parametrize("name", ["file", "file_name", "Filename", "image_path", "path", "Image"])
def test_a_column_of_images_under_a_usual_name_is_taken_and_told(table, name):
    table("image,patient", "a.png,1", "b.png,2", name="drawn.csv")
    data = table(f"{name},patient,Edema", "a.png,1,1", "b.png,2,0")
    assert {Path(study.images[0]).name: study.findings["edema"] for study in every(data).values()} == {
        "a.png": 1,
        "b.png": 0,
    }
    assert f"image: the column '{name}' (data.image names another)" in told(data)


def test_an_expected_column_goes_before_a_usual_one(table):
    data = table("path,image,patient,subject", "none.png,a.png,1,2", "none.png,b.png,2,2")
    assert {(Path(study.images[0]).name, study.patient) for study in every(data).values()} == {
        ("a.png", "1"),
        ("b.png", "2"),
    }
    assert "names another" not in told(data)


@pytest.mark.parametrize(("header", "role"), [("file,path,patient", "image"), ("image,patient_id,subject", "patient")])
def test_two_columns_that_could_be_meant_are_refused(table, header, role):
    data = table(header, "a.png,b.png,c" if role == "image" else "a.png,1,2")
    with pytest.raises(
        DataError, match=f"no column '{role}', but 2 that could be it: .* Name the right .* data.{role}"
    ):
        data.check()


@pytest.mark.parametrize(
    ("uncertain", "unmentioned", "edema", "mass"),
    [
        ("ignore", "unknown", NAN, NAN),
        ("zeros", "absent", 0, 0),
        ("ones", "unknown", 1, NAN),
        ("mixed", "absent", 1, 0),
    ],
)
def test_uncertain_and_empty_cells_by_policy(table, uncertain, unmentioned, edema, mass):
    data = table("image,patient,Edema,Mass", "a.png,1,-1,", "b.png,2,1,1", uncertain=uncertain, unmentioned=unmentioned)
    assert same(every(data)["a"].findings, {"edema": edema, "mass": mass})


def test_columns_with_a_role_and_columns_beside_a_list_are_not_taken_by_name(table):
    rows = ("image,Mass,Fracture,Edema,found", "a.png,p1,pa,1,Nodule", "b.png,p2,ap,0,No Finding")
    assert table(*rows, patient="Mass", view="Fracture").findings == ("edema",)
    data = table(*rows, patient="Mass", view="Fracture", labels="found")
    assert data.findings == ("nodule",) and data.faults == []


def test_named_columns_alone(table):
    """Others are not taken, and the findings are known without the table."""
    how = dict(findings_columns={"wet": "Edema", "goitre": "Goitre"})
    assert Tabular(root="/nowhere", index_file="t.csv", **how).findings == ("edema", "goitre")
    data = table("image,patient,wet,goitre,Mass", "a.png,1,1,0,1", **how)
    assert same(every(data)["a"].findings, {"edema": 1, "goitre": 0})


def test_words_for_yes_no_and_nothing(table):
    rows = ("a.png,1,True", "b.png,2,FALSE", "c.png,3,nan", "d.png,4,1.0", "e.png,5,N/A", "f.png,6,-1.0")
    data = table("image,patient,Edema", *rows, uncertain="zeros")
    values = [study.findings["edema"] for study in data.index]
    assert values == pytest.approx([1, 0, NAN, 1, NAN, 0], nan_ok=True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1, "true TRUE t T yes Yes YES y Y present Present positive Positive pos 1 1.0"),
        (0, "false False F no No n N absent ABSENT negative neg 0 0.0"),
        (-1, "uncertain possible -1"),
        (NAN, "unknown na N/A null nan"),
    ],
)
def test_every_word_for_a_label(table, value, words):
    cells = [*words.split(), *(f"  {word}\t" for word in words.split())]
    data = table("image,patient,Edema", *(f"{i}.png,{i},{cell}" for i, cell in enumerate(cells)), uncertain="ones")
    assert data.index and data.faults == []
    expected = [1 if value == -1 else value] * len(cells)
    assert [study.findings["edema"] for study in data.index] == pytest.approx(expected, nan_ok=True)


def test_other_values_are_faults(table):
    data = table("image,patient,Edema,Fracture", "a.png,1,2,0", "b.png,2,1,left rib", "c.png,3,1,0", "d.png,4,ja,")
    assert set(every(data)) == {"c"}
    assert data.faults == [
        ("table.csv:2", "'Edema' is none of -1, 0, 1, nor empty ('2')"),
        ("table.csv:5", "'Edema' is none of -1, 0, 1, nor empty ('ja')"),
        ("table.csv:3", "'Fracture' is none of -1, 0, 1, nor empty ('left rib')"),
    ]


LISTED = (
    "image,patient,found",
    "a.png,1,Effusion|Mass",
    "b.png,2,No Finding",
    "c.png,3, COVID-19 | todo",
    "d.png,4,todo",
    "e.png,5,",
    "f.png,6,UNKNOWN",
    "g.png,7,NaN",
    "h.png,8,Mass|No Finding",
)


def test_listed_names(table):
    """What is named is present, all others of the file are absent; what says nothing is left out and counted."""
    data = table(*LISTED, labels="found")
    assert data.findings == ("covid_19", "mass", "pleural_effusion")
    none = dict.fromkeys(data.findings, 0.0)
    findings = {name: dict(study.findings) for name, study in every(data).items()}
    assert findings == {"a": {**none, "pleural_effusion": 1.0, "mass": 1.0}, "b": none, "c": {**none, "covid_19": 1.0}}
    assert data.left_out == {"not labelled": 4}
    assert data.faults == [
        ("table.csv:9", "says that there is no finding, and names one ('Mass|No Finding') in column 'found'")
    ]


def test_listed_names_with_a_map_and_other_separators(table):
    rows = ("image,patient,found", 'a.png,1,"wet, 肺炎"', "b.png,2,fine", "c.png,3,??", "d.png,4,later")
    how = dict(labels="found", separator=",", label_map={"wet": "Edema", "肺炎": "Pneumonia", "fine": "No Finding"})
    data = table(*rows, **how, unlabelled=["??", "Later"])
    assert {name: dict(study.findings) for name, study in every(data).items()} == {
        "a": {"edema": 1.0, "pneumonia": 1.0},
        "b": {"edema": 0.0, "pneumonia": 0.0},
    }
    assert data.left_out == {"not labelled": 2}
    with pytest.raises(DataError, match=r"Label '肺炎' has no letter of a to z or digit\. .*data\.label_map"):
        table(*rows, labels="found", separator=",").studies("train")


def test_columns_beside_a_list(table):
    """A study without a name in the list stays if a column has a label for it; where both speak the column counts."""
    rows = ("a.png,1,Mass,1,", "b.png,2,todo,0,", "c.png,3,todo,,", "d.png,4,Mass,,0")
    how = dict(labels="found", findings_columns={"edema": "edema", "mass": "mass"})
    data = table("image,patient,found,edema,mass", *rows, **how)
    findings = {name: study.findings for name, study in every(data).items()}
    assert set(findings) == {"a", "b", "d"} and data.left_out == {"not labelled": 1}
    assert same(findings["a"], {"edema": 1, "mass": 1})
    assert same(findings["b"], {"edema": 0, "mass": NAN})
    assert same(findings["d"], {"edema": NAN, "mass": 0})


def test_equal_labels_are_one_object(table):
    data = table("image,patient,Edema,Mass", "a.png,1,1,", "b.png,2,1,", "c.png,3,1,0")
    a, b, c = data.index
    assert a.findings is b.findings and a.findings is not c.findings


def test_a_table_without_labels(table):
    """Nothing is invented; what is asked about can be named."""
    data = table("image,patient", "a.png,1")
    assert data.findings == () and every(data)["a"].findings == {}
    assert "no labels: no column is named like a finding" in told(data)
    asked = table("image,patient", "a.png,1", findings=["edema"])
    assert asked.findings == ("edema",) and every(asked)["a"].findings == {}


def test_findings_narrow_what_the_table_has(table):
    rows = ("image,patient,Edema,Mass", "a.png,1,1,0")
    data = table(*rows, findings=["mass"])
    assert data.findings == ("mass",)
    assert every(data)["a"].findings == {"mass": 0.0}
    with pytest.raises(DataError, match=r"data.findings names 'edma', .*no labels\. Did you mean 'edema'\?"):
        table(*rows, findings=["edma"]).studies("train")
    with pytest.raises(ValueError, match=r"findings names 'mass'\. Known: edema\."):
        table(*rows, findings=["mass"], findings_columns={"Edema": "edema"})


def test_no_file_is_looked_at_before_it_is_needed():
    """Experiments are checked on machines without the data."""
    data = Tabular(root="/nowhere", index_file="table.csv", labels="found")
    with pytest.raises(DataError, match=r"data\.root: /nowhere is no folder"):
        data.findings  # noqa: B018
    with pytest.raises(DataError, match=r"data\.root: /nowhere is no folder"):
        data.studies("train")


# --- studies, patients, splits


def test_a_study_is_named_by_its_row_its_image_or_a_column(table):
    assert set(every(table("image,patient", "deep/a.b.png,1"))) == {"deep/a.b"}
    assert [study.id for study in table("image,patient", "a | b,1", drawn=False).index] == ["a"]
    assert set(every(table("image,patient,id", "a.png,1,s7"))) == {"s7"}
    assert set(every(table("image,patient,id,exam", "a.png,1,s7,e1", study="exam"))) == {"e1"}


def test_rows_of_one_study(table, tmp_path):
    """Images and views in order of rows; present where any row says so; the first report; NaN only where all say so."""
    data = table(
        "image,patient,exam,view,report,Edema,Mass",
        "a.png,1,e1,pa,,0,",
        "b.png,2,e2,AP,two,0,0",
        "c.png,1,e1,,one,1,",
        "d.png,2,e2,AP,,0,0",
        "e.png,3,e3,,,1,",
        "f.png,3,e3,,,1,",
        study="exam",
        view="view",
        report="report",
    )
    studies = every(data)
    assert [study.id for study in data.index] == ["e1", "e2", "e3"]
    assert studies["e1"].images == (str(tmp_path / "a.png"), str(tmp_path / "c.png"))
    assert (studies["e1"].views, studies["e2"].views) == (("PA", ""), ("AP", "AP"))
    assert (studies["e1"].report, studies["e2"].report) == ("one", "two")
    assert same(studies["e1"].findings, {"edema": 1, "mass": NAN})
    assert "1 studies have rows with different labels" in told(data)


def test_several_images_in_a_cell(table, tmp_path):
    data = table(
        "image,patient,view",
        "a.png|b.png,1,PA|LATERAL",
        "c.png | d.png,2,",
        "e.png|f.png,3,PA",
        "g.png|,4,",
        view="view",
    )
    studies = every(data)
    assert studies["a"].images == (str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    assert studies["a"].views == ("PA", "LATERAL")
    assert studies["c"].images[1] == str(tmp_path / "d.png") and studies["c"].views == ()
    assert len(studies["g"].images) == 1 and set(studies) == {"a", "c", "g"}
    assert data.faults == [
        ("table.csv:4", "has another number of views than of images"),
        ("table.csv:5", "has an empty image name beside a '|'"),
    ]


def test_rows_that_repeat_or_contradict_are_faults(table):
    data = table(
        "image,patient,exam,split",
        "a.png,1,e1,train",
        "a.png,1,e1,train",
        "b.png,2,e1,train",
        "c.png,1,e1,test",
        "d.png|./a.png,3,e2,test",
        study="exam",
        split="split",
    )
    studies = every(data)
    assert {name: len(study.images) for name, study in studies.items()} == {"e1": 1, "e2": 1}
    assert data.faults == [
        ("table.csv:3", "is listed before ('a.png') in column 'image'"),
        ("table.csv:6", "is listed before ('./a.png') in column 'image'"),
        ("table.csv:4", "has another patient than the first row of its study ('2') in column 'patient'"),
        ("table.csv:5", "has another split than the first row of its study ('test') in column 'split'"),
    ]


def test_a_repeated_row_is_named_as_such(table):
    data = table("image,patient", "a.png,1", "a.png,1")
    assert data.index and data.faults == [("table.csv:3", "is listed before ('a.png') in column 'image'")]


def test_a_repeated_id_without_a_study_column_is_a_fault(table):
    data = table("image,patient,id", "a.png,1,5", "b.png,1,5", "c.png,2,6")
    assert set(every(data)) == {"5", "6"}
    assert data.faults == [
        (
            "table.csv:3",
            "study id is that of a row before; if they are one study, name their column in data.study ('5') in column "
            "'id'",
        )
    ]


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NULL", " None "])
def test_cells_without_an_id_are_faults(table, cell):
    rows = ("image,patient,exam", f"a.png,{cell},e1", f"b.png,1,{cell}", f"{cell},2,e3", "d.png,3,e4")
    data = table(*rows, study="exam", drawn=False, allow_missing=True)
    assert [study.id for study in data.index] == ["e4"]
    assert sorted(data.faults) == [
        (f"table.csv:{line}", f"column '{name}' is empty ('{cell.strip()}')")
        for line, name in ((2, "patient"), (3, "exam"), (4, "image"))
    ]


def test_a_table_without_patients_makes_each_study_one_and_says_so(table):
    rows = ("image", "a.png", "b.png|c.png")
    for data in (table(*rows), table(*rows, patient=None)):
        assert [study.patient for study in data.index] == ["a", "b"]
        assert "2 studies without a patient id count as a patient each" in told(data)
    with pytest.raises(DataError, match=r"data.patient: .*table.csv has no column 'pid'\. .*Known: image\."):
        table(*rows, patient="pid").studies("train")


def test_patients_and_views_of_dicom_headers(tmp_path):
    """Only where the table has none. A file without PatientID is a patient of its own, unless its study has one."""
    for name, patient in (("a", "p1"), ("b", None), ("c", None)):
        dicom_file(tmp_path / name, GREY, PatientID=patient, ViewPosition="AP")
    draw(tmp_path / "d.png", 3)
    (tmp_path / "table.csv").write_text("image,exam,who\na,e1,x\nb,e1,x\nc,e2,y\nd.png,e3,y\n")
    how = dict(root=str(tmp_path), index_file="table.csv", study="exam")
    data = Tabular(**how)
    assert {study.id: study.patient for study in data.index} == {"e1": "p1", "e2": "e2", "e3": "e3"}
    assert [study.views for study in data.index] == [("AP", "AP"), ("AP",), ()]
    assert "patients and views from the headers of 3 DICOM files" in told(data)
    assert "2 studies without a patient id" in told(data)
    (tmp_path / "table.csv").write_text("image,exam,side\na,e1,PA\nb,e1,\nc,e2,\nd.png,e3,LL\n")
    assert [study.views for study in Tabular(**how, view="side").index] == [("PA", "AP"), ("AP",), ("LL",)]
    (tmp_path / "table.csv").write_text("image,exam,who\na,e1,x\nb,e1,x\nc,e2,y\nd.png,e3,y\n")
    named = Tabular(**how, patient="who")
    assert [study.patient for study in named.index] == ["x", "y", "y"]
    assert [study.views for study in named.index] == [(), (), ()]


def test_a_header_that_cannot_be_read_is_left_to_whoever_opens_the_image(tmp_path, monkeypatch):
    def refuse(path):
        raise Refused("truncated or damaged")

    monkeypatch.setattr(dicom_folder, "header", refuse)
    dicom_file(tmp_path / "a.dcm", GREY)
    (tmp_path / "table.csv").write_text("image\na.dcm\n")
    data = Tabular(root=str(tmp_path), index_file="table.csv")
    assert [study.patient for study in data.index] == ["a"] and data.faults == []
    folder = Tabular(root=str(tmp_path))
    assert folder.index == [] and folder.faults == [("a.dcm", "truncated or damaged")]


def test_split_names(table):
    rows = [f"{n}.png,{n},{word}" for n, word in enumerate(("train", "Valid", "TESTING", "dev", "validate", "test"))]
    data = table("image,patient,part", *rows, split="part")
    assert [study.split for study in data.index] == ["train", "val", "test", "val", "val", "test"]


def test_split_map_and_splits_that_are_cut(table):
    """``train_val`` is train, of which validation is cut by patient: .25 of 8 patients are 2, with two studies each."""
    rows = [f"{n}.png,{n // 2},{'test' if n >= 16 else 'train_val'}" for n in range(20)]
    data = table("image,patient,part", *rows, split="part", split_map={"Train_Val": "train"}, val_fraction=0.25)
    assert Counter(study.split for study in data.index) == {"train": 12, "val": 4, "test": 4}
    assert len({study.patient for study in data.studies("val")}) == 2
    with pytest.raises(
        DataError,
        match=r"data.split: .* has the splits 'train_val' \(first: table.csv:2\)\. Known: train, .*data.split_map",
    ):
        table("image,patient,part", *rows, split="part").studies("train")


def test_without_splits_all_are_cut_by_patient(table):
    rows = [f"{n}.png,{n // 2}" for n in range(40)]
    data = table("image,patient", *rows, val_fraction=0.25, test_fraction=0.2)
    parts = [{study.patient for study in data.studies(split)} for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [12, 4, 4] and len(set().union(*parts)) == 20


# --- paths and files


def test_paths_that_lead_out_are_faults(table, tmp_path):
    rows = ("../a.png,1", "/etc/passwd,2", "deep/../../b.png,3", f"{tmp_path}/c.png,4", "deep/../d.png,5")
    data = table("image,patient", *rows, drawn=False)
    assert [study.images for study in data.index] == [(str(tmp_path / "c.png"),), (str(tmp_path / "d.png"),)]
    assert data.faults == [
        ("table.csv:2", "image path leads out of data.root ('../a.png') in column 'image'"),
        ("table.csv:3", "image path leads out of data.root ('/etc/passwd') in column 'image'"),
        ("table.csv:4", "image path leads out of data.root ('deep/../../b.png') in column 'image'"),
    ]


def test_paths_as_windows_writes_them(table, tmp_path):
    data = table("image,patient", "deep\\a.png,1", drawn=False)
    assert [study.images for study in data.index] == [(str(tmp_path / "deep" / "a.png"),)]


def test_image_folder(table, tmp_path):
    draw(tmp_path / "pictures" / "a.png", 1)
    data = table("image,patient", "a.png,1", drawn=False, images_dir="pictures")
    assert [study.images for study in data.index] == [(str(tmp_path / "pictures" / "a.png"),)]


def test_missing_images_are_an_error_unless_they_are_allowed(table, tmp_path):
    rows = ("image,patient,part", "a.png,1,train", "b.png,2,train", "a2.png,3,val", "a3.png,4,test")
    for name in ("a", "a2", "a3"):
        draw(tmp_path / f"{name}.png", 1)
    with pytest.raises(DataError, match=r"1 of 2 images .* first .*b\.png.*data\.allow_missing=true"):
        table(*rows, split="part", drawn=False).studies("train")
    data = table(*rows, split="part", drawn=False, allow_missing=True)
    assert set(every(data)) == {"a", "a2", "a3"} and data.missing == {"train": 1}


def test_check_finds_images_that_cannot_be_read(tmp_path):
    """A loop of links and a text, of 45 studies; a PNG by another suffix and a link inside the folder are fine."""
    data = Tabular(**settings(tmp_path))
    images = [Path(study.images[0]) for study in data.studies("train")]
    loop, text, renamed, link = images[0], images[3], images[6], images[9]
    loop.unlink()
    loop.symlink_to(loop)
    text.write_text("no image")
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    lines = (tmp_path / "table.csv").read_text()
    renamed.rename(renamed.with_suffix(".jpg"))
    (tmp_path / "table.csv").write_text(lines.replace(renamed.name, renamed.with_suffix(".jpg").name))
    how = dict(root=str(tmp_path), index_file="table.csv", split="split", view="view")
    with pytest.raises(DataError, match=r"2 of 45 studies and rows cannot be used \(4.4%"):
        Tabular(**how).check()
    data = Tabular(**how, max_bad_share=0.05)
    data.check()
    reasons = {Path(reference).name: why for reference, why in data.bad}
    assert set(reasons) == {loop.name, text.name}
    assert "symbolic links" in reasons[loop.name] and "not an image" in reasons[text.name]
    assert len(every(data)) == 43


# --- forms of tables

PLAIN = 'image,patient,Edema,report\na.png,1,1,Größe 3\nb.png,2,0,"first, second"\nc.png,3,,\n'


def as_written(form: str, folder: Path) -> str:
    """The same table in another form; returns its name."""
    frame = pd.read_csv(folder / "plain.csv", dtype=str, keep_default_na=False)
    if form == "parquet":
        typed = frame.assign(patient=frame["patient"].astype(int), Edema=pd.to_numeric(frame["Edema"]))
        typed.to_parquet(folder / "t.parquet")
        return "t.parquet"
    if form == "gzip":
        (folder / "t.csv.gz").write_bytes(gzip.compress(PLAIN.encode()))
        return "t.csv.gz"
    if form in ("semicolons", "tabs"):
        frame.to_csv(folder / "t.txt", sep={"semicolons": ";", "tabs": "\t"}[form], index=False)
        return "t.txt"
    text = {
        "latin-1": PLAIN.encode("latin-1"),
        "byte-order mark": PLAIN.encode("utf-8-sig"),
        "windows": PLAIN.replace("\n", "\r\n").encode("utf-8-sig"),
        "blanks": PLAIN.replace("image,patient", "image , patient").replace("b.png,2", "b.png , 2").encode(),
    }[form]
    (folder / "t.csv").write_bytes(text)
    return "t.csv"


@pytest.mark.parametrize(
    "form", ["latin-1", "byte-order mark", "windows", "blanks", "semicolons", "tabs", "gzip", "parquet"]
)
def test_forms_of_a_table(tmp_path, form):
    (tmp_path / "plain.csv").write_text(PLAIN, encoding="utf-8")
    for number, name in enumerate("abc"):
        draw(tmp_path / f"{name}.png", number)
    plain = Tabular(root=str(tmp_path), index_file="plain.csv", report="report")
    other = Tabular(root=str(tmp_path), index_file=as_written(form, tmp_path), report="report")
    assert [study.report for study in plain.index] == ["Größe 3", "first, second", None]
    assert plain.findings == other.findings == ("edema",)
    for one, two in zip(plain.index, other.index, strict=True):
        assert same(two.findings, dict(one.findings))
        assert (one.id, one.patient, one.images, one.report) == (two.id, two.patient, two.images, two.report)
    assert other.faults == []


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (dict(image="img"), r"data.image: .*table.csv has no column 'img'\. Did you mean 'image'\? Known: found, "),
        (dict(study="exam"), "data.study: .*no column 'exam'"),
        (dict(split="part"), "data.split: .*no column 'part'"),
        (dict(labels="Found"), "data.labels: .*no column 'Found'.*'found'"),
        (dict(report="text"), "data.report: .*no column 'text'"),
        (dict(view="side"), "data.view: .*no column 'side'"),
        (dict(findings_columns={"wet": "edema"}), "data.findings_columns: .*no column 'wet'"),
        (dict(index_file="other.csv"), "other.csv: cannot be read as a table"),
        (dict(index_file="table.csv.gz"), "table.csv.gz: cannot be read as a table"),
    ],
)
def test_what_is_missing_is_named(table, how, reason):
    data = table("image,patient,found", "a.png,1,Mass")
    with pytest.raises(DataError, match=reason):
        Tabular(**{"root": data.root, "index_file": "table.csv", **how}).studies("train")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (dict(index_file="t.xlsx"), r"index_file must end in .csv, .*, got 't.xlsx'"),
        (dict(index_file="t.csv", uncertain="maybe"), "uncertain must be one of ignore, .*, got 'maybe'"),
        (dict(index_file="t.csv", unmentioned="x"), "unmentioned must be one of absent, unknown, got 'x'"),
        (dict(index_file="t.csv", separator=""), "separator must not be empty, got ''"),
        (dict(index_file="t.csv", split_map={"a": "b"}), "split_map must map onto train, val and test, got {'a': 'b'}"),
        (
            dict(index_file="t.csv", findings_columns={"a": "Edema", "b": "edema"}),
            "findings_columns must name different",
        ),
        (dict(index_file="t.csv", findings_columns={"a": "?"}), "findings_columns must name different"),
        (dict(labels="x"), "labels names a column, got index_file=None"),
        (dict(index_file="t.csv", seed=-1), "seed must be >= 0, got -1"),
    ],
)
def test_settings_out_of_range(how, reason):
    with pytest.raises(ValueError, match=reason):
        Tabular(root="/nowhere", **how)


def test_nothing_leaves_the_machine_unless_the_user_says_so():
    assert Tabular(root="x").credentialed
    assert not Tabular(root="x", credentialed=False).credentialed
    assert Tabular(root="x", citation="A. Author, 2020").citation == "A. Author, 2020"


# --- DICOM files without a table


def dicoms(root: Path, **studies: int) -> None:
    """Study name to number of images; the study's patient is its first letter."""
    for name, images in studies.items():
        for number in range(images):
            how = dict(PatientID=name[0], StudyInstanceUID=UID_ROOT + str(ord(name[0])) + name[1:])
            dicom_file(root / name / f"IM{number:04d}", GREY + number, ViewPosition=("PA", "LL")[number], **how)


def test_a_folder_of_dicom(tmp_path):
    """Studies and patients from headers, by content; pictures, hidden files and the index of a medium are passed by."""
    dicoms(tmp_path / "cd", a1=2, a2=1, b1=1, c1=1)
    draw(tmp_path / "cd" / "a1" / "preview.png", 1)
    dicom_file(tmp_path / "DICOMDIR", None, Modality=None)
    dicom_file(tmp_path / "cd" / ".trash" / "x", GREY)
    dicom_file(tmp_path / "cd" / "._IM0000", GREY)
    (tmp_path / "empty").write_bytes(b"")
    data = Tabular(root=str(tmp_path))
    first = data.index[0]
    assert first.id == f"{UID_ROOT}971" and first.patient == "a" and first.views == ("PA", "LL")
    assert [Path(path).name for path in first.images] == ["IM0000", "IM0001"]
    assert [(study.patient, len(study.images)) for study in data.index] == [("a", 2), ("a", 1), ("b", 1), ("c", 1)]
    assert data.findings == () and first.findings == {} and data.faults == []
    assert told(data) == "5 DICOM files; 4 studies of 3 patients"
    data.check()
    assert data.images(first)[1].getpixel((0, 0)) == 10


def test_dicom_files_that_cannot_be_used_are_faults(tmp_path):
    dicoms(tmp_path, a1=1)
    dicom_file(tmp_path / "ct", GREY, Modality="CT")
    (tmp_path / "b.dcm").write_text("a web page that says: not found")
    (tmp_path / "c.DCM").write_bytes(b"")
    (tmp_path / "d.dcm").symlink_to(tmp_path / "d.dcm")
    data = Tabular(root=str(tmp_path))
    assert len(data.index) == 1
    faults = dict(data.faults)
    assert list(faults) == ["b.dcm", "c.DCM", "ct", "d.dcm"]
    for name, reason in (
        ("b.dcm", "is named as DICOM"),
        ("c.DCM", "empty file"),
        ("ct", "Modality"),
        ("d.dcm", "links"),
    ):
        assert reason in faults[name]


def test_dicom_without_ids(tmp_path):
    how = dict(StudyInstanceUID=None, PatientID=None, Modality=None)
    for name in ("deep/a.dcm", "b"):
        dicom_file(tmp_path / name, GREY, **how)
    data = Tabular(root=str(tmp_path))
    assert [(study.id, study.patient) for study in data.index] == [("b", "b"), ("deep/a", "deep/a")]
    assert "2 DICOM files, 2 of them without a modality" in told(data)
    assert "2 studies without a patient id" in told(data)


def test_a_folder_without_dicom(tmp_path):
    draw(tmp_path / "a.png", 1)
    with pytest.raises(DataError, match=r"none of 1 files is DICOM\. Set data.index_file"):
        Tabular(root=str(tmp_path)).studies("train")


def test_files_come_in_order_of_their_names(tmp_path):
    names = [f"{number:02d}" for number in range(30)]
    for name in reversed(names):
        (tmp_path / name).write_text("")
    assert [Path(path).name for path in files_below(tmp_path)] == names


def test_links_between_folders_are_followed_once(tmp_path):
    """A link to the folder above would never end, one to a folder elsewhere leads to its files."""
    (tmp_path / "root" / "inner").mkdir(parents=True)
    (tmp_path / "root" / "inner" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "else").mkdir()
    for name in ("root/inner/x", "else/y"):
        (tmp_path / name).write_text("")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "else")
    (tmp_path / "root" / "gone").symlink_to(tmp_path / "nothing")
    names = [path.removeprefix(f"{tmp_path}/root/") for path in files_below(tmp_path / "root")]
    assert names == ["gone", "inner/x", "link/y"]


# --- real samples

real = pytest.mark.skipif(not DATA.is_dir(), reason="the real samples are not here")


@real
def test_real_covid_table():
    """README: 395 images, of them 95 ``todo`` and 1 ``Unknown``; COVID-19 197 and 9 with ARDS, which 4 have alone."""
    data = Tabular(
        root=str(DATA / "covid_chestxray"),
        index_file="metadata.csv",
        patient="patientid",
        labels="finding",
        separator=",",
        report="clinical_notes",
        view="view",
    )
    studies = every(data)
    assert len(studies) == 395 - 96 and data.left_out == {"not labelled": 96}
    present = Counter(name for study in studies.values() for name, value in study.findings.items() if value == 1.0)
    assert (present["covid_19"], present["ards"], present["pneumocystis"]) == (206, 13, 17)
    assert sum(not any(study.findings.values()) for study in studies.values()) == 6
    data.check()
    assert data.bad == []


@real
def test_real_nih_index():
    """README: 1,005 images, 694 train_val and 311 test, effusion 170, no finding 502."""
    data = Tabular(
        root=str(DATA / "nih_chestxray14_sample"),
        index_file="index.csv",
        patient="Patient ID",
        labels="Finding Labels",
        split="official_split",
        split_map={"train_val": "train"},
        view="View Position",
    )
    sizes = {split: len(data.studies(split)) for split in ("train", "val", "test")}
    assert sizes["train"] + sizes["val"] == 694 and sizes["test"] == 311 and sizes["val"] > 0
    assert len(data.findings) == 14
    studies = every(data).values()
    assert sum(study.findings["pleural_effusion"] for study in studies) == 170
    assert sum(not any(study.findings.values()) for study in studies) == 502
    assert {study.views for study in studies} == {("PA",), ("AP",)}
    assert len({study.patient for study in studies}) == 266


@real
def test_real_dicom_folder():
    """Seven files: three are refused, which is more than one in a hundred."""
    root = str(DATA / "dicom_cxr")
    with pytest.raises(
        DataError, match=r"3 of 7 studies and rows cannot be used \(42\.9%; first: test4\.dcm: .*RIBCAGE"
    ):
        Tabular(root=root).check()
    data = Tabular(root=root, max_bad_share=0.5)
    data.check()
    assert {study.patient for study in every(data).values()} == {"9RG1", "1", "2", "61"}
    assert [reference for reference, _ in data.bad] == ["test4.dcm", "test5.dcm", "test6.dcm"]
    assert [reason.split("'")[1] for _, reason in data.bad] == ["RIBCAGE", "CT", "XX"]
    assert all(data.images(study)[0].mode == "L" for study in every(data).values())


# --- one id for all


def test_one_patient_id_for_all_files_is_said_with_the_ways_out(tmp_path):
    for number in range(12):
        dicom_file(tmp_path / f"{number}.dcm", GREY + number, PatientID="ANON", StudyInstanceUID=f"{UID_ROOT}9{number}")
    data = Tabular(root=str(tmp_path))
    said = (
        r"Split 'train' has no studies: all 12 studies carry the patient id 'ANON'.*data\.patient.*"
        r"data\.study_is_patient=true"
    )
    with pytest.raises(DataError, match=said):
        data.check()
    assert "12 of 12 studies carry the patient id 'ANON'" in told(data)
    mended = Tabular(root=str(tmp_path), study_is_patient=True)
    mended.check()
    assert len(every(mended)) == len({study.patient for study in mended.index}) == 12


def test_a_constant_patient_column_is_said(table):
    rows = [f"{i}.png,X" for i in range(4)]
    with pytest.raises(DataError, match="all 4 studies carry the patient id 'X'"):
        table("image,patient", *rows).check()
    table("image,patient", *rows, study_is_patient=True).check()
    listed = [f"{row},{split}" for row, split in zip(rows, ("train", "val", "test", "test"), strict=True)]
    parted = table("image,patient,split", *listed, split="split")
    with pytest.raises(
        DataError, match=r"both in 'train' and in 'val': X\..* But all 4 studies carry the patient id 'X'"
    ):
        parted.check()


def test_two_patients_are_too_few_for_three_splits(table):
    with pytest.raises(DataError, match=r"5 studies are of 2 patients \(A, B\); 3 of them carry the patient id 'A'"):
        table("image,patient", "a.png,A", "b.png,B", "c.png,A", "d.png,B", "e.png,A").check()


def test_a_patient_with_most_studies_is_doubted_and_used(table):
    """11 of 14: the others are real ones, and enough for the splits."""
    data = table("image,patient", *(f"{i}.png,{'X' if i < 11 else i}" for i in range(14)))
    data.check()
    assert "11 of 14 studies carry the patient id 'X'" in told(data)
    assert "carry" not in told(table("image,patient", *(f"{i}.png,{i % 3}" for i in range(14))))


def test_too_few_studies_are_not_blamed_on_the_patients(table):
    with pytest.raises(DataError, match=r"has no studies\. Check split lists"):
        table("image,patient", "a.png,A", "b.png,B").check()


# --- without a setting that names the table


def test_index_csv_is_read_where_no_table_is_named(table, tmp_path):
    table("image,patient,Edema", "a.png,p1,1", "b.png,p2,0", name="index.csv")
    found = every(Tabular(root=str(tmp_path), report=None))
    assert {name: study.findings["edema"] for name, study in found.items()} == {"a": 1, "b": 0}
    assert Tabular(root=str(tmp_path), labels="Edema").labels == "Edema"


def test_a_table_of_another_name_is_pointed_out(table, tmp_path):
    table("image,patient,Edema", "a.png,p1,1", name="mine.csv")
    with pytest.raises(
        DataError, match=r"is DICOM\..* There is mine\.csv in .*: name it in data\.index_file to read it\."
    ):
        every(Tabular(root=str(tmp_path)))
    dicom_file(tmp_path / "a.dcm", GREY)
    data = Tabular(root=str(tmp_path))
    assert len(every(data)) == 1 and "not read: mine.csv in" in told(data)
    (tmp_path / "index.csv").write_text("file,bytes\na.dcm,9\n")
    data = Tabular(root=str(tmp_path))
    assert len(every(data)) == 1 and "not read: index.csv, mine.csv in" in told(data)


def test_a_path_that_no_file_can_have_is_told(tmp_path):
    """JSON and Parquet can hold a NUL, which no file system takes."""
    data = Tabular(**settings(tmp_path))
    assert data.inside("a\0.png") is None and data.inside("a.png") == str(tmp_path / "a.png")
    with pytest.raises(DataError, match="no name of a file"):
        refuse_unreadable(tmp_path / "a\0.png")


def test_all_that_is_wrong_with_a_table_is_told_at_once(table):
    """Not one fault a try: columns of image and patient, the folder, a column of labels, cells of labels."""
    data = table(
        "picture,who,Edema,Effusion",
        "a.png,1,severe,1",
        "b.png,2,0,2",
        images_dir="films",
        patient="mrn",
        findings_columns={"Edema": "edema", "Effusion": "effusion", "Mass": "mass"},
    )
    with pytest.raises(DataError) as caught:
        data.check()
    said = str(caught.value)
    assert said.startswith("6 things are wrong:\n- ") and said.count("\n") == 6
    assert "data.image: " in said and "has no column 'image'" in said
    assert "data.patient: " in said and "has no column 'mrn'" in said
    assert "data.images_dir: there is no folder " in said and "/films." in said
    assert "data.findings_columns: " in said and "has no column 'Mass'" in said
    assert "table.csv:2: 'Edema' is none of" in said and "table.csv:3: 'Effusion' is none of" in said


def test_cells_of_labels_are_told_beside_other_faults(table):
    data = table("picture,patient,Edema,Effusion", "a.png,1,severe,1", "b.png,2,0,2", "c.png,2,mild,0")
    with pytest.raises(DataError) as caught:
        data.check()
    said = str(caught.value)
    assert "has no column 'image'" in said
    assert "table.csv:2: 'Edema' is none of -1, 0, 1, nor empty ('severe'), as 2 of 3 cells of the column." in said
    assert "table.csv:3: 'Effusion' is none of -1, 0, 1, nor empty ('2'), as 1 of 3 cells of the column." in said


def test_a_folder_of_images_that_is_not_there_is_named_as_such(table, tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"data.images_dir: there is no folder .*/image\. Did you mean 'images'"):
        table("image,patient", "a.png,1", images_dir="image").check()
