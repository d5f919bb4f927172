"""MS-CXR-T: pairs and their labels, both tasks, image layouts, and each way the download can be broken."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.types import Prior
from data_modules.ms_cxr_t import MSCXRT
from tests.helpers.mimic_cxr_folder import TABLE
from tests.helpers.ms_cxr_t_folder import FINDINGS, IMAGES, PAIRS, ms_cxr_t_folder, pair, rows, save, tree

UNKNOWN = dict.fromkeys(FINDINGS, math.nan)


@pytest.fixture
def root(tmp_path) -> Path:
    return ms_cxr_t_folder(tmp_path / "ms-cxr-t")


def make(root: Path, **settings) -> MSCXRT:
    return MSCXRT(root=str(root), **settings)


def studies(root: Path, **settings) -> list:
    return make(root, **settings).studies("test")


def with_rows(root: Path, *pairs: dict) -> Path:
    """The folder with these rows alone; images need not exist."""
    save(root, list(pairs))
    return root


def test_pairs_and_their_course(root):
    """First: edema improving (may be gone: unknown), consolidation stable (present). The case of the table is lost."""
    first, second, third, *_ = found = studies(root)
    assert len(found) == PAIRS
    assert first.id == "s50000000" and first.patient == "10000032" and first.split == "test"
    assert first.images == (str(root / f"files/{tree(10_000_032, 50_000_000)}.jpg"),)
    assert first.prior == Prior("s59000000", (str(root / f"files/{tree(10_000_032, 59_000_000)}.jpg"),))
    assert first.progression == {"edema": "improving", "consolidation": "stable"}
    assert first.findings == pytest.approx({**UNKNOWN, "consolidation": 1.0}, nan_ok=True)
    assert second.progression == {"pleural_effusion": "worsening"}
    assert second.findings == pytest.approx({**UNKNOWN, "pleural_effusion": 1.0}, nan_ok=True)
    assert third.progression == {"pneumonia": "stable", "pneumothorax": "improving"}


def test_it_is_for_evaluation_alone(root):
    data = make(root)
    assert data.splits == ("test",) and data.patients_of == "mimic" and data.credentialed
    assert data.studies("train") == data.studies("val") == []
    data.check()
    assert data.bad == [] and data.left_out == {}
    assert list(data.notes) == [
        f"24 pairs of 24 patients from {IMAGES}",
        f"images from {root}/files: 48 of 48 that were looked for are there",
    ]


def test_the_earlier_image_is_shown_first(root):
    data = make(root)
    study = data.studies("test")[3]
    shown = [image.tobytes() for image in data.images(study)]
    assert shown == [Image.open(path).tobytes() for path in (*study.prior.images, *study.images)]
    assert shown[0] != shown[1]


@pytest.mark.parametrize(
    ("column", "word", "allowed"),
    [
        ("edema_progression", "resolved", "improving, stable, worsening"),
        ("pleural_effusion_progression", "nan", "improving, stable, worsening"),
        ("edema_label_quality", "two_experts", "one_expert, multiple_experts, disagreement"),
    ],
)
def test_a_course_or_a_quality_that_is_none_is_a_fault(root, column, word, allowed):
    one, two = rows()[:2]
    two[column] = word
    data = make(with_rows(root, one, two))
    assert [study.id for study in data.index] == ["s50000000"] and data.left_out == {}
    assert data.faults == [(f"{IMAGES}:3", f"must be one of {allowed} or empty ('{word}') in column '{column}'")]


def test_quality_chooses_judgements(root):
    """Of each three pairs, 24 in all: one_expert edema, disagreement consolidation; multiple_experts effusion;
    one_expert pneumonia, multiple_experts pneumothorax."""
    data = make(root, quality=["multiple_experts"])
    assert [study.progression for study in data.studies("test")[:2]] == [
        {"pleural_effusion": "worsening"},
        {"pneumothorax": "improving"},
    ]
    assert len(data.studies("test")) == 16
    assert data.left_out == {"label whose quality is not multiple_experts": 24, "pair without a label of its course": 8}
    either = studies(root, quality=["one_expert", "disagreement"])
    assert either[0].progression == {"edema": "improving", "consolidation": "stable"} and len(either) == 16
    table = pd.read_csv(root / IMAGES).drop(columns="edema_label_quality")
    table.to_csv(root / IMAGES, index=False)
    assert len(studies(root)) == 24, "not needed where all are used"
    with pytest.raises(DataError, match="no column 'edema_label_quality'"):
        studies(root, quality=["one_expert"])


def test_ids_are_unique_where_a_study_comes_twice(root):
    """The study with two images of its own, and one image that is compared with two earlier ones."""
    course = {"edema": ("stable", "one_expert")}
    base = [pair(number, course) for number in range(3)]
    other = {**base[0], "dicom_id": tree(10_000_032, 7), "previous_dicom_id": tree(10_000_032, 8)}
    again = {**base[1], "previous_dicom_id": tree(10_000_033, 9)}
    data = make(with_rows(root, *base, other, again))
    index = data.read_index()
    name = [row["dicom_id"].rpartition("/")[2] for row in (*base, other, again)]
    before = [row["previous_dicom_id"].rpartition("/")[2] for row in (*base, other, again)]
    assert [study.id for study in index] == [
        f"s50000000_{name[0]}",
        f"s50000001_{name[1]}_{before[1]}",
        "s50000002",
        f"s50000000_{name[3]}",
        f"s50000001_{name[4]}_{before[4]}",
    ]
    assert name[4] == name[1]


def test_presence_takes_the_labels_of_mimic(root):
    """KNOWN in turn: effusion 1; edema -1 (unknown) and consolidation 0; no finding."""
    data = make(root, task="presence")
    first, second, third = data.studies("test")[:3]
    assert first.findings == {**dict.fromkeys(FINDINGS, 0.0), "pleural_effusion": 1.0}
    assert second.findings == pytest.approx({**dict.fromkeys(FINDINGS, 0.0), "edema": math.nan}, nan_ok=True)
    assert set(third.findings.values()) == {0.0}
    assert all(study.prior is None and study.progression == {} for study in data.studies("test"))
    assert f"labels from {root / TABLE.format('chexpert')}" in data.notes
    policies = studies(root, task="presence", uncertain="ones", unmentioned="unknown")
    assert policies[1].findings == pytest.approx({**UNKNOWN, "edema": 1.0, "consolidation": 0.0}, nan_ok=True)
    assert set(policies[2].findings.values()) == {0.0}, "no_finding says that the five are absent"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"study_id": 50_000_001}, "study id is not that of the image path ('50000001') in column 'study_id'"),
        (
            {"previous_dicom_id": tree(10_000_033, 59_000_000)},
            "subject id is not that of the earlier image path ('10000032') in column 'subject_id'",
        ),
    ],
)
def test_a_pair_whose_paths_are_of_another_study_or_patient_is_a_fault(root, change, why):
    one, *others = rows()
    save(root, [{**one, **change}, *others])
    data = make(root)
    assert len(data.index) == 23
    assert data.faults == [(f"{IMAGES}:2", why)]


def test_presence_of_another_patient_is_a_fault(root):
    path = root / TABLE.format("chexpert")
    table = pd.read_csv(path)
    table.assign(study_id=[*table["study_id"][1:], 59_999_999]).to_csv(path, index=False)
    data = make(root, task="presence")
    assert data.index == [] and len(data.faults) == 23 and "subject id is not that of the study" in data.faults[0][1]


def test_presence_needs_a_label_and_comes_once_an_image(root, tmp_path):
    """The second study lacks a row of the table, the first image is in two pairs."""
    table = pd.read_csv(root / TABLE.format("chexpert"))
    (tmp_path / "mimic").mkdir()
    table.drop(index=1).to_csv(tmp_path / "mimic" / TABLE.format("negbio"), index=False)
    one, two, three = rows()[:3]
    save(root, [one, {**one, "previous_dicom_id": tree(1, 1)}, two, three])
    settings = {"task": "presence", "labeler": "negbio", "mimic_root": str(tmp_path / "mimic")}
    data = make(root, **settings)
    assert [study.id for study in data.studies("test")] == ["s50000000", "s50000002"]
    assert data.left_out == {"no label": 1}
    with pytest.raises(DataError, match=r"none of mimic-cxr-2.0.0-negbio.csv.*Set data.mimic_root"):
        studies(root, **{**settings, "mimic_root": None})
    with pytest.raises(DataError, match=r"data.mimic_root: /nowhere is no folder"):
        studies(root, **{**settings, "mimic_root": "/nowhere"})


@pytest.mark.parametrize("layout", ["files/{tree}", "{tree}", "images/{name}", "{name}", "files/{name}"])
def test_images_elsewhere_in_any_layout(root, tmp_path, layout):
    elsewhere = tmp_path / "mimic-cxr-jpg"
    for path in [*(root / "files").rglob("*.jpg")]:
        inner = path.relative_to(root / "files").with_suffix("")
        new = elsewhere / f"{layout.format(tree=inner, name=path.stem)}.jpg"
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)
    shutil.rmtree(root / "files")
    data = make(root, images_root=str(elsewhere))
    found = data.studies("test")
    assert len(found) == PAIRS and all(Path(study.images[0]).is_relative_to(elsewhere) for study in found)
    data.check()
    with pytest.raises(DataError, match=r"No image of the tables was found in .*Set data.images_root"):
        studies(root)
    with pytest.raises(DataError, match=r"data.images_root: /nowhere is no folder"):
        studies(root, images_root="/nowhere")
    shutil.copy(root / TABLE.format("chexpert"), elsewhere)
    (root / TABLE.format("chexpert")).unlink()
    assert len(studies(root, images_root=str(elsewhere), task="presence")) == PAIRS


def test_paths_with_folder_and_suffix_are_the_same_images(root):
    plain = studies(root)
    save(root, [{**row, "dicom_id": f"files/{row['dicom_id']}.jpg"} for row in rows()])
    assert [study.images for study in studies(root)] == [study.images for study in plain]


def test_a_pair_without_its_earlier_image_is_left_out(root):
    """Of 24 pairs two lack the earlier image, a third the later one."""
    found = studies(root)
    for path in (found[0].prior.images[0], found[1].prior.images[0], found[2].images[0]):
        Path(path).unlink()
    with pytest.raises(DataError, match=r"3 of 24 images of split 'test' are not there.*allow_missing"):
        studies(root)
    data = make(root, allow_missing=True)
    assert data.studies("test") == found[3:]
    assert data.left_out == {"pair whose earlier image is not there": 2} and data.missing == {"test": 3}
    kept = studies(root, allow_missing=True, task="presence")
    assert len(kept) == 23, "presence needs the later image alone"


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("dicom_id", "../../etc/passwd", "image path leads out of data.root ('../../etc/passwd') in column 'dicom_id'"),
        (
            "previous_dicom_id",
            "/etc/passwd",
            "image path leads out of data.root ('/etc/passwd') in column 'previous_dicom_id'",
        ),
        ("previous_dicom_id", "", "column 'previous_dicom_id' is empty ('')"),
        ("study_id", "", "column 'study_id' is empty ('')"),
        ("subject_id", "", "column 'subject_id' is empty ('')"),
    ],
)
def test_rows_that_cannot_be_used_are_noted(root, column, value, fault):
    changed = rows()
    changed[4][column] = value
    save(root, changed)
    data = make(root)
    assert len(data.studies("test")) == 23
    assert data.faults == [(f"{IMAGES}:6", fault)]


def test_a_repeated_pair_is_a_fault(root):
    save(root, [*rows(), rows()[0]])
    data = make(root)
    assert len(data.studies("test")) == 24
    assert data.faults == [(f"{IMAGES}:26", f"is listed before ('{rows()[0]['dicom_id']}') in column 'dicom_id'")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda root: (root / IMAGES).unlink(), f"has none of {IMAGES}"),
        (lambda root: (root / IMAGES).write_text("a web page\n"), "has no column 'dicom_id'"),
        (
            lambda root: pd.read_csv(root / IMAGES).drop(columns="edema_progression").to_csv(root / IMAGES),
            "no column 'edema_progression'",
        ),
        (lambda root: shutil.rmtree(root / "files"), "No image of the tables was found in"),
    ],
)
def test_a_broken_download_is_an_error_that_says_where(root, change, reason):
    change(root)
    with pytest.raises(DataError, match=reason):
        studies(root)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"task": "course"}, "task must be progression or presence, got 'course'"),
        ({"labeler": "vision"}, "labeler must be chexpert or negbio, got 'vision'"),
        ({"quality": ["best"]}, "quality must name some of one_expert, multiple_experts, disagreement, got 'best'"),
        ({"quality": []}, "quality must name some of one_expert, .*, got none"),
        ({"unmentioned": "zero"}, "unmentioned must be one of absent, unknown, got 'zero'"),
    ],
)
def test_settings_out_of_range(settings, reason):
    with pytest.raises(ValueError, match=reason):
        make(Path("x"), **settings)
