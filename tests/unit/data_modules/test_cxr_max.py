"""CXR-MAX in this project's file: labels, patients, splits, images, and each way a line can be wrong."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from apo_lightning.errors import DataError
from apo_lightning.findings import CHEXPERT
from apo_lightning.teachers.recorded import Recorded, read_jsonl
from apo_lightning.text.labeler import refused
from data_modules.cxr_max import CxrMax
from data_modules.loading.splits import SPLITS
from data_modules.ms_cxr_t import MSCXRT
from data_modules.transfer import Transfer
from tests.helpers.cxr_max_folder import cxr_max_folder, draw, line, lines, write
from tests.helpers.ms_cxr_t_folder import ms_cxr_t_folder

EXAMPLE = Path(__file__).parents[4] / "shared/data/cxr_max_example/example.json"
FILE = "cxr_max.jsonl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return cxr_max_folder(tmp_path / "set")


def all_studies(data: CxrMax) -> dict[str, Any]:
    return {study.id: study for split in SPLITS for study in data.studies(split)}


def index(root: Path, rows: list[Any], **settings: Any) -> CxrMax:
    """The set with other lines, its index read."""
    write(root / FILE, rows)
    data = CxrMax(root=str(root), **settings)
    assert data.index is not None
    return data


def present(study: Any) -> set[str]:
    return {name for name, value in study.findings.items() if value == 1.0}


def unknown(study: Any) -> set[str]:
    return {name for name, value in study.findings.items() if math.isnan(value)}


def test_a_line_is_a_study(root):
    """10000032 % 4 = 0: the patient has two images; labels LABELS[32 % 4] and LABELS[33 % 4]."""
    data = CxrMax(root=str(root))
    study = all_studies(data)["s50000320"]
    assert study.patient == "10000032"
    assert study.images == (str(root / "files/p10/p10000032/s50000320/02faf1c0.jpg"),)
    assert study.report == "FINDINGS: Atelectasis, Pleural Effusion."
    assert dict(study.findings) == {**dict.fromkeys(CHEXPERT, 0.0), "atelectasis": 1.0, "pleural_effusion": 1.0}
    assert present(all_studies(data)["s50000321"]) == {"no_finding"}
    assert [s.id for s in data.index] == [row["id"] for row in lines()]
    data.check()
    assert data.bad == []


def test_the_same_file_serves_the_teachers(root):
    data = CxrMax(root=str(root))
    found = Recorded("gpt5", str(root / FILE)).signal(data.index, [0.0] * 50)
    assert [item.study for item in found] == [study.id for study in data.index]
    assert found[0].text == "There is atelectasis."


def test_splits_are_cut_by_patient_and_it_is_said(root):
    """40 patients: 6 are tested on, 5 of the other 34 validate."""
    data = CxrMax(root=str(root))
    assert [len({s.patient for s in data.studies(split)}) for split in SPLITS] == [29, 5, 6]
    assert list(data.notes) == [
        "50 images of 40 patients from cxr_max.jsonl",
        "trajectories: gpt5 50, grok4 50",
        "splits are cut by patient, since cxr_max.jsonl has none and none was published: test 0.15 of the patients, "
        "validation 0.15 of the others",
    ]


def test_splits_of_the_file_are_kept(root):
    words = {0: "train", 1: "validate", 2: "TEST", 3: "train"}
    rows = [{**row, "split": words[int(row["image"].split("/")[2][1:]) % 4]} for row in lines()]
    data = index(root, rows)
    assert [len({s.patient for s in data.studies(split)}) for split in SPLITS] == [20, 10, 10]
    assert {int(s.patient) % 4 for s in data.studies("val")} == {1}
    assert not any("cut by patient" in note for note in data.notes)


def test_some_lines_with_a_split_are_an_error(root):
    rows = lines()
    rows[0]["split"], rows[2]["split"] = "train", "test"
    with pytest.raises(DataError, match=r"cxr_max\.jsonl: 48 of 50 lines have no 'split' \(first: cxr_max\.jsonl:2\)"):
        index(root, rows)
    (root / "splits.csv").write_text("study,split\ns50000320,test\ns50000330,train\n")
    data = index(root, rows, split_file=str(root / "splits.csv"))
    assert [s.id for s in data.studies("test")] == ["s50000320"]


def test_labels_that_are_not_listed(root):
    """Support devices say nothing about diseases; No Finding says that there are none."""
    rows = [line(10_000_001, i, labels=labels) for i, labels in enumerate((["edema"], ["No Finding"], [], None))]
    del rows[3]["labels"]
    edema, normal, nothing, unlabelled = index(root, rows).index
    assert present(edema) == {"edema"} and not unknown(edema)
    assert present(normal) == {"no_finding"} and not unknown(normal)
    assert not present(nothing) and not unknown(nothing)
    assert unknown(unlabelled) == set(CHEXPERT)
    edema, normal, nothing, unlabelled = index(root, rows, unlisted="unknown").index
    assert present(edema) == {"edema"} and unknown(edema) == set(CHEXPERT) - {"edema"}
    assert present(normal) == {"no_finding"} and unknown(normal) == {"support_devices"}
    assert unknown(nothing) == unknown(unlabelled) == set(CHEXPERT)


def test_lines_without_labels_are_counted(root):
    rows = [{key: value for key, value in row.items() if key != "labels"} for row in lines()[:3]] + lines()[3:]
    assert "50 images of 40 patients from cxr_max.jsonl, 3 of them without labels" in index(root, rows).notes


def test_names_of_labels_in_any_spelling(root):
    names = ["ENLARGED CARDIOMEDIASTINUM", "lung_opacity", "Effusion", "Support Devices"]
    (study,) = index(root, [line(10_000_001, 0, labels=names)]).index
    assert present(study) == {"enlarged_cardiomediastinum", "lung_opacity", "pleural_effusion", "support_devices"}


def test_equal_labels_share_one_dictionary(root):
    one, two = index(root, [line(10_000_001, i, labels=x) for i, x in enumerate((["Edema"], ["edema"]))]).index
    assert one.findings is two.findings


def test_empty_texts_are_counted_and_missing_teachers_too(root):
    rows = [line(10_000_001, 0, trajectories={"a": "", "b": "x"}), line(10_000_001, 1, trajectories={"a": "\n"})]
    assert "trajectories: a 2 (2 empty), b 1" in index(root, rows).notes
    assert "trajectories: none" in index(root, [line(10_000_001, 0, trajectories={})]).notes


def test_a_blank_report_is_none(root):
    one, two = index(root, [line(10_000_001, 0, report=" \n"), line(10_000_001, 1, report=" Edema.\n")]).index
    assert one.report is None and two.report == " Edema.\n"


def test_patient_from_key_or_path(root):
    rows = [
        {**line(10_000_001, 0), "image": "a.jpg", "patient": "10,000,003"},
        {**line(10_000_001, 1), "image": "b.jpg", "patient": " p10000001 "},
        {**line(10_000_001, 2), "patient": "10000001"},
        {**line(10_000_001, 3), "image": "p10000002/c.jpg"},
    ]
    assert [study.patient for study in index(root, rows).index] == ["10000003", "10000001", "10000001", "10000002"]


ODD_PATIENTS = (
    "1.070e7",
    "1.07e7",
    "1.07E+07",
    "p10700033/",
    "p10/p10700033",
    "-10700033",
    "(10700033)",
    "['10700033']",
    "b'10700033'",
    "10700033L",
    "10700033;",
    "10700033.0.0",
    '""10700033""',
    "subject=10700033",
    "MIMIC-10700033",
    "O10700033",
    "somebody",
    "1O700033",
    "10700033 10700034",
    "nan",
    "107000330",
    "1070003",
)


@pytest.mark.parametrize("text", ODD_PATIENTS)
def test_a_patient_that_is_no_subject_id_is_a_fault_and_never_another_patient(root, text):
    """It would be trained on and tested on under two names."""
    rows = [{**line(10_700_033, n), "image": f"{n}.jpg", "patient": text} for n in range(2)]
    ((first, why), (second, _)) = index(root, [*lines(), *rows]).faults
    assert (first, second) == ("cxr_max.jsonl:51", "cxr_max.jsonl:52")
    assert why.startswith("key 'patient': ")
    assert why.endswith(f"({text!r}); if no image is of MIMIC-CXR, say data.patients=own")


@pytest.mark.parametrize("text", ODD_PATIENTS[::5])
def test_a_file_of_such_patients_alone_is_not_trained_on(root, tmp_path, text):
    rows = [{**row, "image": f"{row['id']}.jpg", "patient": f"{text}{row['id'][-2:]}"} for row in lines()]
    draw(root, rows)
    write(root / FILE, rows)
    with pytest.raises(DataError, match=r"cxr_max\.jsonl:1: key 'patient': "):
        Transfer(CxrMax(root=str(root)), MSCXRT(root=str(ms_cxr_t_folder(tmp_path)))).check()


def test_patients_of_another_set_are_said_to_be_and_are_not_mimics(root):
    rows = [{**line(10_000_001, n), "image": f"{n}.jpg", "patient": f"person {n // 2}"} for n in range(3)]
    data = index(root, rows, patients="own")
    assert [study.patient for study in data.index] == ["person 0", "person 0", "person 1"]
    assert data.patients_of == "" and CxrMax(root=str(root)).patients_of == "mimic" and not data.faults
    ((where, why),) = index(root, [*rows, line(10_000_002, 0)], patients="own").faults
    assert where == "cxr_max.jsonl:4"
    assert why == "the image path has patient 10000002 of MIMIC-CXR, though data.patients is own"
    with pytest.raises(ValueError, match="patients must be one of mimic, own, got 'mine'"):
        CxrMax(root=str(root), patients="mine")


def test_a_study_with_two_images(root):
    names = ["files/p10/p10000001/s1/a.jpg", "files/p10/p10000001/s1/b.jpg"]
    (study,) = index(root, [line(10_000_001, 0, image=names)]).index
    assert study.images == tuple(str(root / name) for name in names)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"labels": ["Atelectais"]}, "label 'atelectais' is none of the fourteen .* Did you mean 'atelectasis'"),
        ({"labels": ["Infiltration"]}, "label 'infiltration' is none of the fourteen"),
        ({"labels": ["No Finding", "Edema", "Support Devices"]}, "labels have No Finding beside edema$"),
        ({"patient": "10000009"}, "different patients: 10000001 and 10000009"),
        ({"image": "files/x.jpg"}, "no patient: give the key 'patient'"),
        ({"image": ["p10000001/a.jpg", "p10000002/b.jpg"]}, "different patients: 10000001 and 10000002"),
        ({"image": "../p10000001/x.jpg"}, "image path '../p10000001/x.jpg' leads out of "),
        ({"image": "files\\..\\..\\p10000001\\x.jpg"}, "leads out of "),
        ({"image": "/data/p10000001/x.jpg"}, "leads out of "),
        ({"split": "trian"}, "split must be one of train, val, test, got 'trian'"),
        ({"id": "s50000320"}, r"id 's50000320' is listed before \(cxr_max.jsonl:1\)"),
        ({"lables": []}, "unknown key 'lables'. Did you mean 'labels'"),
        ({"trajectories": "x"}, "'trajectories' must be an object"),
    ],
)
def test_a_wrong_line_is_a_fault_with_its_place(root, changes, why):
    data = index(root, [*lines(), {**line(10_000_001, 7), **changes}])
    ((where, reason),) = data.faults
    assert where == "cxr_max.jsonl:51" and re.search(why, reason), reason
    assert len(data.index) == 50


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{'id': 1}", "not JSON"),
        ("[1]", "expected a JSON object with the keys"),
        ('{"study": "s1", "teacher": "a", "text": "x"}', "is one trajectory, not one image"),
        ('{"id": "s1", "id": "s2"}', "key 'id' stands twice"),
    ],
)
def test_a_line_of_another_kind_is_a_fault(root, text, why):
    ((where, reason),) = index(root, [text, *lines()]).faults
    assert where == "cxr_max.jsonl:1" and why in reason


def test_too_many_wrong_lines_are_refused_by_check(root):
    data = index(root, [*lines()[:-1], line(10_000_001, 7, labels=["Gout"])])
    with pytest.raises(DataError, match=r"1 of 50 studies and rows cannot be used \(2\.0%; first: cxr_max\.jsonl:50"):
        data.check()


def test_images_lie_elsewhere(root, tmp_path):
    elsewhere = tmp_path / "mimic"
    (root / "files").rename(tmp_path / "files")
    elsewhere.mkdir()
    (tmp_path / "files").rename(elsewhere / "files")
    data = CxrMax(root=str(root), images_root=str(elsewhere))
    assert data.studies("test")[0].images[0].startswith(str(elsewhere / "files"))
    data.check()
    assert data.bad == []
    rows = [{**row, "image": row["image"].removeprefix("files/")} for row in lines()]
    data = index(root, rows, images_root=str(elsewhere), images_dir="files")
    data.check()
    rows = [{**row, "image": str(elsewhere / row["image"])} for row in lines()]
    assert index(root, rows, images_root=str(elsewhere)).faults == []


def test_missing_images_are_an_error_unless_allowed(root):
    (root / lines()[0]["image"]).unlink()
    with pytest.raises(DataError, match=r"1 of \d+ images of split '\w+' are not there, first .*02faf1c0\.jpg"):
        all_studies(CxrMax(root=str(root)))
    assert len(all_studies(CxrMax(root=str(root), allow_missing=True))) == 49


def test_what_is_not_there_says_what_to_do(root, tmp_path):
    with pytest.raises(
        DataError, match=r"data\.index_file: .*x\.jsonl is not there\. The folder has cxr_max\.jsonl: set"
    ):
        _ = CxrMax(root=str(root), index_file="x.jsonl").index
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="Make it by 'apo data import'"):
        _ = CxrMax(root=str(tmp_path / "empty")).index
    with pytest.raises(DataError, match=r"data\.images_root: .*nowhere is no folder"):
        _ = CxrMax(root=str(root), images_root=str(tmp_path / "nowhere")).index
    with pytest.raises(DataError, match=r"data\.images_dir: .*jpgs is no folder"):
        _ = CxrMax(root=str(root), images_dir="jpgs").index
    with pytest.raises(ValueError, match="unlisted must be one of absent, unknown, got 'zero'"):
        CxrMax(root=str(root), unlisted="zero")


def test_credentialed_and_of_mimics_patients():
    assert CxrMax.credentialed and CxrMax.patients_of == "mimic" and CxrMax.vocabulary == CHEXPERT
    assert "2510.04142" in CxrMax.citation and "MIMIC-CXR" in CxrMax.citation


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the worked example is not here")
def test_the_published_example_comes_through_unchanged(root):
    """Seven texts of one case; lengths counted on the file. Refusal, bold marks and the unfilled slot all stay."""
    example = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    row = line(10_000_001, 9, labels=example["labels"], trajectories=example["trajectories"])
    rows = [*lines(), row]
    draw(root, rows)
    data = index(root, rows)
    data.check()
    assert data.bad == []
    assert present(data.index[-1]) == {"atelectasis", "pleural_effusion"}
    texts = {item.teacher: item.text for item in read_jsonl(root / FILE) if item.study == row["id"]}
    assert texts == example["trajectories"]
    assert {name: len(text) for name, text in texts.items()} == {
        "Claude Sonnet-4": 1329,
        "GPT-5-nano": 706,
        "GLM-4.5V": 1194,
        "Gemini-2.5-flash-lite": 1832,
        "Moonshot-v1": 1178,
        "Qwen-VL-Max": 2742,
        "Grok-4": 4268,
    }
    assert "#blank" in texts["Gemini-2.5-flash-lite"] and texts["Claude Sonnet-4"].count("**") == 18
    assert [name for name, text in texts.items() if refused(text)] == ["Moonshot-v1"]
    (heard,) = Recorded("moonshot", str(root / FILE), teacher="Moonshot-v1").signal(data.index, [0.0] * 51)
    assert refused(heard.text)
