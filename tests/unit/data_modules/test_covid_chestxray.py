"""The COVID-19 image data collection: labels by cause, views, notes, time points, and the real sample."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from apo_lightning.errors import DataError
from apo_lightning.types import Prior, Study
from data_modules.covid_chestxray import CovidChestXray
from tests.helpers.covid_chestxray_folder import NOTES, covid_folder, row, write

SAMPLE = Path(__file__).parents[4] / "shared/data/covid_chestxray"


def read(root: Path, rows: list[dict], *, drop: tuple[str, ...] = (), **settings) -> CovidChestXray:
    return CovidChestXray(root=str(write(root, rows, drop=drop)), **settings)


def labels(study: Study) -> str:
    """One character a finding in order of the vocabulary: 1, 0 or ?."""
    return "".join("?" if math.isnan(value) else f"{value:g}" for _, value in sorted(study.findings.items()))


@pytest.mark.parametrize(
    ("finding", "expected"),
    [  # ards, bacterial, covid_19, fungal, no_finding, pneumonia, viral
        ("COVID-19", "?010011"),
        ("Pneumonia/Viral/COVID-19", "?010011"),
        ("COVID-19, ARDS", "1010011"),
        ("ARDS", "1???0??"),
        ("Pneumonia", "????01?"),
        ("Pneumonia/Viral", "?0?0011"),
        ("SARS", "?000011"),
        ("Pneumonia/Viral/MERS-CoV", "?000011"),
        ("Pneumonia/Viral/Influenza/H1N1", "?000011"),
        ("Swine-Origin Influenza A (H1N1) Viral Pneumonia", "?000011"),
        ("Pneumonia/Viral/Herpes ", "?000011"),
        ("Herpes pneumonia, ARDS", "1000011"),
        ("Streptococcus", "?100010"),
        ("Bacterial", "?100010"),
        ("E.Coli", "?100010"),
        ("Mycoplasma Bacterial Pneumonia", "?100010"),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", "?100010"),
        ("Pneumocystis", "?001010"),
        ("Pneumonia/Fungal/Aspergillosis", "?001010"),
        ("Lipoid", "?000010"),
        ("Pneumonia/Aspiration", "????01?"),
        ("Lobar Pneumonia", "????01?"),
        ("Tuberculosis", "????0??"),
        ("Cryptogenic organising pneumonia", "????0??"),
        ("COVID-19, Streptococcus", "?110011"),
        ("Streptococcus, COVID-19", "?110011"),
        ("No Finding", "0000100"),
    ],
)
def test_a_cause_and_what_it_says(tmp_path, finding, expected):
    (study,) = read(tmp_path, [row(1, "a.png", finding=finding)]).index
    assert labels(study) == expected
    assert tuple(sorted(study.findings)) == CovidChestXray.vocabulary


@pytest.mark.parametrize("finding", ["Covid", "No Finding, ARDS", "COVID-19; ARDS", "Pneumonia/Viral/RSV"])
def test_an_unknown_cause_is_a_fault_that_names_the_row(tmp_path, finding):
    data = read(tmp_path, [row(1, "a.png"), row(2, "b.png", finding=finding)])
    assert [study.id for study in data.index] == ["a"]
    assert data.faults == [
        ("metadata.csv:3", f"unknown cause in 'finding'; add it to CAUSES or correct it ({finding!r})")
    ]


def test_unlabelled_images_are_counted_or_kept(tmp_path):
    rows = [row(n, f"{n}.png", finding=finding) for n, finding in enumerate(("COVID-19", "todo", "Unknown", ""))]
    data = read(tmp_path, rows)
    assert [study.id for study in data.index] == ["0"]
    assert data.left_out == {"finding todo": 1, "finding Unknown": 1, "finding empty": 1}
    kept = read(tmp_path, rows, unlabelled="keep")
    assert [labels(study) for study in kept.index] == ["?010011"] + ["???????"] * 3
    assert kept.left_out == {} and kept.faults == []


def test_radiographs_in_frontal_or_unknown_view_are_used(tmp_path):
    views = ["PA", "AP", "AP Supine", "AP erect", "AP semi erect", "", "AP Erect", "L", "?"]
    rows = [row(n, f"{n}.png", view=view) for n, view in enumerate(views)]
    rows.append(row(9, "9.png", modality="CT", view="Axial", folder="volumes", finding="no such cause"))
    data = read(tmp_path, rows)
    assert [study.views for study in data.index] == [
        ("PA",),
        ("AP",),
        ("AP SUPINE",),
        ("AP ERECT",),
        ("AP SEMI ERECT",),
        ("",),
        ("AP ERECT",),
    ]
    assert data.left_out == {"modality CT": 1, "view LATERAL": 1}
    ((where, why),) = data.faults
    assert where == "metadata.csv:10" and "must be one of PA, AP, AP Supine" in why and "('?') in column 'view'" in why
    assert [study.id for study in read(tmp_path, rows, views=["ap", "L"]).index] == ["1", "7"]


def test_laterals_go_beside_the_frontal_image_of_their_time(tmp_path):
    """Patient 1: two laterals on day 3, two frontal images then; one lateral on day 5, without a frontal one.
    Patient 2: one image of each view at unknown times. Patient 3: two frontal ones at unknown times."""
    rows = [
        row(1, "f3.png", offset="3"),
        row(1, "l3.png", offset="3.0", view="L"),
        row(1, "g3.png", offset="3"),
        row(1, "m3.png", offset="3", view="L"),
        row(1, "l5.png", offset="5", view="L"),
        row(2, "f.png", offset=""),
        row(2, "l.png", offset="", view="L"),
        row(3, "p.png", offset=""),
        row(3, "q.png", offset=""),
        row(3, "r.png", offset="", view="L"),
    ]
    data = read(tmp_path, rows, max_images=2)
    shown = {study.id: [Path(path).stem for path in study.images] for study in data.index}
    assert shown == {"f3": ["f3", "l3"], "g3": ["g3"], "f": ["f", "l"], "p": ["p"], "q": ["q"]}
    assert data.index[0].views == ("PA", "LATERAL") and data.index[1].views == ("PA",)
    assert data.left_out == {"view LATERAL": 3}
    three = read(tmp_path, rows, max_images=3)
    assert [Path(path).stem for path in three.index[0].images] == ["f3", "l3", "m3"]
    alone = read(tmp_path, rows)
    assert len(alone.index) == 5 and alone.left_out == {"view LATERAL": 5}


@pytest.mark.parametrize(
    ("kind", "clinical", "imaging", "text"),
    [
        ("imaging", NOTES, "", "Patchy opacities. Clear apices."),
        ("imaging", NOTES, "Small  effusion.", "Small effusion."),
        ("imaging", "Fever. IMAGING notes: Clear", "", "Clear"),
        ("imaging", "Fever.", "", "Fever."),
        ("imaging", "Fever. Imaging notes: Discussion: none", "", "Fever. Imaging notes: Discussion: none"),
        ("imaging", "", "", None),
        ("clinical", "Fever..  Imaging notes: Clear", "Small effusion.", "Fever. Imaging notes: Clear"),
        ("clinical", "", "Small effusion.", None),
        ("none", NOTES, "Small effusion.", None),
    ],
)
def test_notes(tmp_path, kind, clinical, imaging, text):
    (study,) = read(tmp_path, [row(1, "a.png", clinical_notes=clinical, imaging_notes=imaging)], report=kind).index
    assert study.report == text


def test_the_image_before_is_the_last_one_of_an_earlier_day(tmp_path):
    """Offsets are numbers (10 after 9, -1 before onset), and an unlabelled image may be the one before."""
    rows = [
        row(1, "d10.png", offset="10"),
        row(1, "d9.png", offset="9", clinical_notes="Worse."),
        row(1, "e10.png", offset="10.0"),
        row(1, "dx.png", offset=""),
        row(1, "d1.png", offset="-1", finding="todo"),
        row(1, "l9.png", offset="9", view="L"),
        row(2, "d0.png"),
    ]
    data = read(tmp_path, rows, prior=True)
    nine = Prior("d9", (str(tmp_path / "images/d9.png"),), "Worse.")
    first = Prior("d1", (str(tmp_path / "images/d1.png"),), None)
    assert {study.id: study.prior for study in data.index} == {
        "d10": nine,
        "d9": first,
        "e10": nine,
        "dx": None,
        "d0": None,
    }
    study = data.index[0]
    assert [image.getpixel((0, 0)) for image in data.images(study)] == [1, 0], "the image before comes first"
    assert all(study.prior is None for study in read(tmp_path, rows).index)


def test_a_column_image_goes_before_folder_and_filename(tmp_path):
    data = read(tmp_path, [row(1, "a.png", image="pictures/b.png"), row(2, "c.png", image="pictures/c.png")])
    assert [study.images for study in data.index] == [(str(tmp_path / f"pictures/{n}.png"),) for n in "bc"]
    data = read(tmp_path, [row(1, "a.png"), row(2, "c.png", folder="")])
    assert [study.images for study in data.index] == [(str(tmp_path / f"images/{n}.png"),) for n in "ac"]
    moved = CovidChestXray(root=str(tmp_path), images_dir="pictures")
    assert [study.images for study in moved.index] == [(str(tmp_path / f"pictures/{n}.png"),) for n in "ac"]


def test_columns_that_some_editions_lack(tmp_path):
    lacking = ("modality", "folder", "clinical_notes", "other_notes")
    data = read(tmp_path, [row(1, "a.png"), row(2, "b.png")], drop=lacking)
    assert [(study.id, study.report) for study in data.index] == [("a", None), ("b", None)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"patientid": ""}, "column 'patientid' is empty ('')"),
        ({"offset": "soon"}, "offset is no number ('soon') in column 'offset'"),
        ({"filename": ""}, "image path is empty or leads out of data.root"),
        ({"filename": "../../b.png"}, "image path is empty or leads out of data.root"),
        ({"filename": "a.jpg"}, "an image of this name is listed before ('a')"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, changes, reason):
    write(tmp_path, [row(1, "a.png"), {**row(2, "b.png"), **changes}], draw=False)
    data = CovidChestXray(root=str(tmp_path))
    assert [study.id for study in data.index] == ["a"]
    assert data.faults == [("metadata.csv:3", reason)]


@pytest.mark.parametrize("column", ["patientid", "offset", "finding", "view", "filename"])
def test_columns_that_are_needed(tmp_path, column):
    write(tmp_path, [row(1, "a.png")], drop=(column,))
    with pytest.raises(DataError, match=f"metadata.csv has no column .*'{column}'"):
        CovidChestXray(root=str(tmp_path)).studies("train")


def test_no_table(tmp_path):
    with pytest.raises(DataError, match=r"has none of metadata.csv"):
        CovidChestXray(root=str(tmp_path)).studies("train")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"views": []}, r"views must be some of PA, AP, .*, L and '', got \[\]"),
        ({"views": ["Axial"]}, r"views must be some of PA, AP, .*got \['Axial'\]"),
        ({"max_images": 0}, "max_images must be >= 1, got 0"),
        ({"report": "all"}, "report must be imaging or clinical or none, got 'all'"),
        ({"unlabelled": "zero"}, "unlabelled must be drop or keep, got 'zero'"),
    ],
)
def test_settings_out_of_range(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        CovidChestXray(root="x", **wrong)


def test_splits_are_cut_by_patient(tmp_path):
    """40 patients: 6 tested on, round(.15 * 34) = 5 validate; 13 of them come twice."""
    data = CovidChestXray(root=str(covid_folder(tmp_path)))
    data.check()
    assert data.facts()["patients"] == {"train": 29, "val": 5, "test": 6}
    assert len(data.index) == 53 and data.left_out == {"modality CT": 1}


sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample is not here")


@sample
def test_real_counts():
    """The published counts: 395 images of 202 patients, 96 of them unlabelled, 42 lateral ones."""
    every = ["PA", "AP", "AP Supine", "L", ""]
    data = CovidChestXray(root=str(SAMPLE), views=every, unlabelled="keep")
    data.check()
    assert data.bad == [] and data.left_out == {} and len(data.index) == 395
    assert len({study.patient for study in data.index}) == 202
    assert Counter(study.views for study in data.index) == {
        ("PA",): 183,
        ("AP SUPINE",): 92,
        ("AP",): 44,
        ("LATERAL",): 42,
        ("",): 34,
    }
    assert Counter(map(labels, data.index)) == {
        "?010011": 197,
        "???????": 96,
        "?001010": 17,
        "????01?": 11,
        "1010011": 9,
        "0000100": 6,
        "?000011": 7,
        "?000010": 5,
        "1???0??": 4,
        "?100010": 14 + 8 + 8 + 4 + 4 + 4 + 1,
    }
    told = CovidChestXray(root=str(SAMPLE), views=every, unlabelled="keep", report="clinical")
    assert sum(study.report is not None for study in told.index) == 291


@sample
def test_real_time_points():
    """66 patients have frontal images at two or more time points: 130 images have one before them."""
    data = CovidChestXray(root=str(SAMPLE), unlabelled="keep", prior=True, max_images=2)
    data.check()
    later = [study for study in data.index if study.prior]
    assert len({study.patient for study in later}) == 66 and len(later) == 130
    owner = {study.id: study.patient for study in data.index}
    assert all(owner[study.prior.id] == study.patient for study in later)
    assert Counter(len(study.images) for study in data.index) == {1: 312, 2: 41}


@sample
def test_real_default():
    """Frontal and labelled: 395 without 42 lateral images and 85 frontal ones that are unlabelled."""
    data = CovidChestXray(root=str(SAMPLE))
    data.check()
    assert sum(data.facts()["studies"].values()) == 268 and data.bad == []
    assert data.left_out == {"view LATERAL": 42, "finding todo": 84, "finding Unknown": 1}
