"""MIMIC-CXR-JPG: the official layout in small, labels, views and priors, and each way it can be broken."""

from __future__ import annotations

import gzip
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.findings import CHEXPERT
from apo_lightning.types import Prior, Study
from data_modules.archives.mimic_tables import LABELS as TABLE_LABELS
from data_modules.mimic_cxr import MIMICCXR
from tests.helpers.mimic_cxr_folder import (
    LABELS,
    RADIOLOGIST,
    SPLITS,
    TABLE,
    dicom,
    draw,
    image_path,
    image_row,
    labels,
    mimic_folder,
    studies_of,
    write,
)

SPLIT_NAMES = {"train": "train", "val": "validate", "test": "test"}


@pytest.fixture
def root(tmp_path) -> Path:
    return mimic_folder(tmp_path / "mimic-cxr-jpg" / "2.1.0")


def make(root: Path, **settings) -> MIMICCXR:
    return MIMICCXR(root=str(root), **settings)


def every(data: MIMICCXR) -> dict[str, Study]:
    return {study.id: study for split in data.splits for study in data.studies(split)}


def edit(root: Path, name: str, change) -> None:
    """Rewrites an official table after ``change(rows)``, which returns the rows or changes them in place."""
    rows = pd.read_csv(root / TABLE.format(name), dtype=str, keep_default_na=False)
    changed = change(rows)
    write(root, name, rows if changed is None else changed)


def put(row: int, column: str, value: str):
    return lambda rows: rows.__setitem__(column, [*rows[column][:row], value, *rows[column][row + 1 :]])


def bare(root: Path, images: list[dict], known: list[dict] = (), split: str = "train") -> Path:
    """A folder with these rows of the metadata table alone; studies that ``known`` does not label have no finding."""
    rows = pd.DataFrame(images)
    for place, row in rows.iterrows():
        draw(root / image_path(row.subject_id, row.study_id, row.dicom_id), int(place))
    write(root, "metadata", rows)
    write(root, "split", rows[["dicom_id", "study_id", "subject_id"]].assign(split=split))
    listed = {row["study_id"] for row in known}
    ids = rows[["subject_id", "study_id"]].drop_duplicates().to_dict("records")
    normal = [{**one, **labels(No_Finding=1.0)} for one in ids if one["study_id"] not in listed]
    write(root, "chexpert", pd.DataFrame([*normal, *known]))
    return root


def index(root: Path, **settings) -> list[Study]:
    return make(root, **settings).read_index()


def test_splits_ids_and_images_are_the_official_ones(root):
    """26 patients, every third of whom (9) has two studies: 35; each has one frontal image that is used."""
    data = make(root)
    for split, word in SPLIT_NAMES.items():
        wanted = {
            f"s{study}": str(subject)
            for number, name in enumerate(SPLITS)
            if name == word
            for subject, study in studies_of(number)
        }
        assert {study.id: study.patient for study in data.studies(split)} == wanted
    (subject, study), _ = studies_of(0)
    first = every(data)[f"s{study}"]
    assert first.images == (str(root / image_path(subject, study, dicom(subject, study, "PA"))),)
    assert first.views == ("PA",) and first.report is None and first.prior is None
    assert len(every(data)) == 35
    data.check()
    assert data.bad == [] and data.left_out == {}
    said = [note.replace(str(root), "ROOT") for note in data.notes]
    assert said == [
        "images from ROOT/files: 35 of 35 that were looked for are there",
        "labels from mimic-cxr-2.0.0-chexpert.csv.gz: 35 studies",
    ]


def test_labels_of_the_three_rows(root):
    """No Finding alone; effusion with an uncertain cardiomegaly; edema and devices with an uncertain atelectasis."""
    studies = list(every(make(root)).values())
    present = [{name for name, value in study.findings.items() if value == 1} for study in studies[:3]]
    assert present == [{"no_finding"}, {"pleural_effusion"}, {"edema", "support_devices"}]
    assert math.isnan(studies[1].findings["cardiomegaly"]) and studies[1].findings["pneumothorax"] == 0.0
    assert tuple(studies[0].findings) == CHEXPERT and TABLE_LABELS == LABELS
    assert studies[0].findings is studies[3].findings, "equal labels are one object"


def test_each_of_the_four_states_is_its_own(tmp_path):
    """Rows that differ in one cell alone: 1, 0, -1, and not mentioned (which is absent)."""
    rows = [image_row(10_000_001 + n, 50_000_000 + n, "PA", 21_800_101, 10.0) for n in range(4)]
    states = [labels(Edema=1.0, Fracture=value) for value in (1.0, 0.0, -1.0, math.nan)]
    known = [{"subject_id": 10_000_001 + n, "study_id": 50_000_000 + n, **states[n]} for n in range(4)]
    fractures = [study.findings["fracture"] for study in index(bare(tmp_path, rows, known), unmentioned="unknown")]
    assert fractures == pytest.approx([1.0, 0.0, math.nan, math.nan], nan_ok=True)
    fractures = [study.findings["fracture"] for study in index(tmp_path, uncertain="ones")]
    assert fractures == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("settings", "cardiomegaly", "atelectasis", "edema"),
    [
        ({}, math.nan, math.nan, 0.0),
        ({"uncertain": "zeros"}, 0.0, 0.0, 0.0),
        ({"uncertain": "ones"}, 1.0, 1.0, 0.0),
        ({"uncertain": "mixed"}, 0.0, 1.0, 0.0),
        ({"unmentioned": "unknown"}, math.nan, math.nan, math.nan),
    ],
)
def test_policies(root, settings, cardiomegaly, atelectasis, edema):
    """Cardiomegaly is uncertain in the second study, atelectasis in the third, edema is not mentioned in the second."""
    second, third = list(every(make(root, **settings)).values())[1:3]
    got = [second.findings["cardiomegaly"], third.findings["atelectasis"], second.findings["edema"]]
    assert got == pytest.approx([cardiomegaly, atelectasis, edema], nan_ok=True)
    assert second.findings["pleural_effusion"] == 1.0


def test_the_other_labeler(root):
    """The negbio table of the folder denies every effusion."""
    data = make(root, labeler="negbio")
    assert {study.findings["pleural_effusion"] for study in every(data).values()} == {0.0}
    assert "labels from mimic-cxr-2.0.0-negbio.csv.gz: 35 studies" in data.notes


def test_the_radiologists_labels_replace_those_of_the_test_studies(root):
    """Release 2.1.0: no subject_id, Airspace Opacity. Of 4 test studies 2 are labelled; a training study stays."""
    test = [study for number in range(23, 26) for _, study in studies_of(number)]
    train = studies_of(0)[0][1]
    rows = [{"study_id": study, **labels(Pneumonia=1.0)} for study in (test[0], test[2], train)]
    rows[1] |= labels(Lung_Opacity=1.0)
    table = pd.DataFrame(rows).rename(columns={"Lung Opacity": "Airspace Opacity"})
    table.to_csv(root / RADIOLOGIST, index=False)
    data = make(root, test_labels="radiologist")
    assert [study.id for study in data.studies("test")] == [f"s{test[0]}", f"s{test[2]}"]
    assert [study.findings["lung_opacity"] for study in data.studies("test")] == [0.0, 1.0]
    assert every(data)[f"s{train}"].findings["pneumonia"] == 0.0
    assert len(data.studies("train")) == len(make(root).studies("train"))
    assert data.left_out == {"test study that the radiologist did not label": len(test) - 2}
    (root / RADIOLOGIST).unlink()
    with pytest.raises(DataError, match=r"none of mimic-cxr-2.1.0-test-set-labeled.csv.*release 2.1.0"):
        make(root, test_labels="radiologist").studies("test")


def test_studies_without_any_label_are_left_out_and_counted(root):
    """The first study has no row, all cells of the second are empty."""
    edit(root, "chexpert", lambda rows: rows[1:])
    for name in LABELS:
        edit(root, "chexpert", put(0, name, ""))
    data = make(root)
    assert len(every(data)) == 33
    assert data.left_out == {"no label": 2}
    table = TABLE.format("chexpert")
    assert f"2 of 35 studies (5.7%) have no label in {table} and are left out" in data.notes


def test_many_studies_without_a_label_are_a_warning(root, caplog):
    edit(root, "chexpert", lambda rows: rows[1:])
    every(make(root))
    assert not caplog.text
    edit(root, "chexpert", lambda rows: rows[24:])
    assert len(every(make(root))) == 10
    assert "25 of 35 studies (71.4%) have no label in" in caplog.text


def test_labels_of_another_patient_are_faults_by_line(root):
    """Study ids that were shifted are those of other studies; only the patient's second study stays his."""
    edit(root, "chexpert", lambda rows: rows.assign(study_id=[*rows["study_id"][1:], rows["study_id"][0]]))
    data = make(root)
    rows = pd.read_csv(root / TABLE.format("chexpert"), dtype=str)
    owner = {str(study): str(subject) for n in range(len(SPLITS)) for subject, study in studies_of(n)}
    wrong = [n for n, row in enumerate(rows.itertuples(), 2) if owner[row.study_id] != row.subject_id]
    assert len(data.index) == 35 - len(wrong) and len(wrong) > 20
    assert [where for where, _ in data.faults] == [f"{TABLE.format('chexpert')}:{n}" for n in wrong]
    assert data.faults[-1][1] == (
        f"subject id is not that of the study ('{rows['subject_id'].iloc[-1]}') in column 'subject_id'"
    )


def test_labels_that_are_all_another_patients_are_an_error(root):
    edit(root, "chexpert", lambda rows: rows.assign(study_id=[*rows["study_id"][5:], *rows["study_id"][:5]]))
    with pytest.raises(
        DataError, match=r"chexpert.csv.gz:2: subject id is not that of the study .* None of the 35 rows"
    ):
        _ = make(root).index


def test_labels_may_lack_the_patient_and_have_further_studies(root):
    edit(root, "chexpert", lambda rows: pd.concat([rows, rows[:1].assign(study_id="59999999")]))
    data = make(root)
    assert len(data.index) == 35 and not data.faults
    edit(root, "chexpert", lambda rows: rows.drop(columns="subject_id"))
    assert len(make(root).index) == 35


def test_splits_of_other_images_are_faults_by_line(root):
    """The ids of two images of two studies stand in each other's place."""
    edit(root, "split", put(0, "study_id", "59999999"))
    data = make(root, views=[])
    assert len(data.index) == 35
    first = studies_of(0)[0][1]
    assert data.faults == [
        (
            f"{TABLE.format('metadata')}:2",
            f"study id is not that of the image in {TABLE.format('split')} ('{first}') in column 'study_id'",
        )
    ]
    edit(root, "split", lambda rows: rows.drop(columns="study_id"))
    assert not make(root).faults


IMAGES = [
    image_row(10_000_001, 50_000_002, "LATERAL", 21_800_101, 90_000.0),
    image_row(10_000_001, 50_000_002, "AP", 21_800_101, 90_000.0),
    image_row(10_000_001, 50_000_002, "pa", 21_800_101, 90_000.0),
    image_row(10_000_001, 50_000_001, "LL", 21_800_102, 90_000.0),
    image_row(10_000_002, 50_000_003, "", 21_800_101, 90_000.0),
    image_row(10_000_002, 50_000_004, "SWIMMERS", 21_800_101, 90_000.0),
    image_row(10_000_002, 50_000_003, "AP", 21_800_101, 90_000.0),
    image_row(10_000_001, 50_000_002, "LAO", 21_800_101, 90_000.0),
]


@pytest.mark.parametrize(
    ("settings", "views", "left_out"),
    [
        ({}, {2: ("PA",), 3: ("AP",)}, {"no image of view PA, AP": 2}),
        ({"max_images": 2}, {2: ("PA", "AP"), 3: ("AP",)}, {"no image of view PA, AP": 2}),
        ({"views": ["LL", "LATERAL"]}, {2: ("LATERAL",), 1: ("LL",)}, {"no image of view LL, LATERAL": 2}),
        ({"views": [""]}, {3: ("",)}, {"no image of view unknown": 3}),
        ({"views": ["AP"]}, {2: ("AP",), 3: ("AP",)}, {"no image of view AP": 2}),
        (
            {"views": [], "max_images": 9},
            {2: ("PA", "AP", "LATERAL", "LAO"), 1: ("LL",), 3: ("AP", ""), 4: ("SWIMMERS",)},
            {},
        ),
    ],
)
def test_views_are_chosen_and_ordered(tmp_path, settings, views, left_out):
    """Case does not count; PA comes before AP, LATERAL and the rest; studies come in the order of the table."""
    data = make(bare(tmp_path, IMAGES), **settings)
    studies = data.read_index()
    assert {int(study.id[1:]) - 50_000_000: study.views for study in studies} == views
    assert [int(study.id[1:]) - 50_000_000 for study in studies] == list(views)
    assert data.left_out == left_out and not data.faults
    for study in studies:
        subject, number = int(study.patient), int(study.id[1:])
        named = [view.lower() if view == "PA" else view for view in study.views]
        assert study.images == tuple(
            str(tmp_path / image_path(subject, number, dicom(subject, number, v))) for v in named
        )


def test_priors_go_by_date_and_time_not_by_id(tmp_path):
    """10000001: 07:19 (written 71903.25), 21:30 the same day, then a year later; ids run against time.
    10000002 has two studies at one moment, neither of which is before the other, and one after them.
    10000004 was examined just before midnight and just after."""
    rows = [
        image_row(10_000_001, 50_000_001, "PA", 21_810_101, 10.5),
        image_row(10_000_001, 50_000_002, "AP", 21_800_101, 213_014.531),
        image_row(10_000_001, 50_000_003, "PA", 21_800_101, 71_903.25),
        image_row(10_000_002, 50_000_004, "PA", 21_700_101, 80_000.0),
        image_row(10_000_002, 50_000_005, "PA", 21_700_101, 80_000.0),
        image_row(10_000_002, 50_000_006, "PA", 21_700_101, 80_000.5),
        image_row(10_000_003, 50_000_007, "PA", 21_900_101, 0.0),
        image_row(10_000_004, 50_000_008, "PA", 21_900_102, 1_000.0),
        image_row(10_000_004, 50_000_009, "PA", 21_900_101, 235_959.0),
    ]
    root = bare(tmp_path, rows)
    studies = {study.id: study for study in index(root, prior=True)}
    before = {name: study.prior and study.prior.id for name, study in studies.items()}
    assert before == {
        "s50000001": "s50000002",
        "s50000002": "s50000003",
        "s50000003": None,
        "s50000004": None,
        "s50000005": None,
        "s50000006": "s50000005",
        "s50000007": None,
        "s50000008": "s50000009",
        "s50000009": None,
    }
    assert studies["s50000001"].prior == Prior("s50000002", studies["s50000002"].images)
    assert all(study.prior is None for study in index(root))


def test_prior_may_be_a_study_without_label_and_a_time_must_be_one(tmp_path):
    rows = [image_row(10_000_001, 50_000_000 + n, "PA", 21_800_101 + n, 10.0) for n in range(4)]
    rows[3]["StudyTime"] = ""
    root = bare(tmp_path, rows, [{"subject_id": 10_000_001, "study_id": 50_000_000, **labels()}])
    data = make(root, prior=True)
    studies = data.read_index()
    assert [(s.id, s.prior and s.prior.id) for s in studies] == [("s50000001", "s50000000"), ("s50000002", "s50000001")]
    assert data.faults == [
        ("mimic-cxr-2.0.0-metadata.csv.gz:5", "is no time in digits alone ('') in column 'StudyTime'")
    ]
    assert data.left_out == {"no label": 1}
    assert len(index(root)) == 3, "without priors times do not count"


def test_images_of_the_prior_come_first(root):
    data = make(root, prior=True)
    study = next(study for study in data.studies("train") if study.prior)
    assert int(study.prior.id[1:]) > int(study.id[1:]), "ids say nothing of time"
    shown = [image.tobytes() for image in data.images(study)]
    assert shown == [Image.open(path).tobytes() for path in (*study.prior.images, *study.images)]
    assert len(set(shown)) == 2


@pytest.mark.parametrize(
    ("layout", "folder"),
    [
        ("official_data_iccv_final/files/{tree}", "official_data_iccv_final/files"),
        ("{tree}", ""),
        ("images/{name}", "images"),
        ("files/{name}", "files"),
        ("{name}", ""),
    ],
)
def test_other_layouts_are_found_and_said(root, layout, folder):
    old = [path for study in make(root).read_index() for path in study.images]
    for path in map(Path, old):
        tree = path.relative_to(root / "files")
        new = root / layout.format(tree=tree, name=path.name)
        new.parent.mkdir(parents=True, exist_ok=True)
        path.rename(new)
    shutil.rmtree(root / "files/p10")
    data = make(root)
    assert len(every(data)) == 35
    flat = ", side by side" if "name" in layout else ""
    note = f"images from {root / folder}{flat}: 35 of 35 that were looked for are there"
    assert note in data.notes


def test_images_dir_is_where_layouts_are_tried(root):
    (root / "files").rename(root / "jpegs")
    with pytest.raises(DataError, match=r"No image of the tables was found in .*/files, .*Set data.images_dir"):
        make(root).studies("train")
    assert len(every(make(root, images_dir="jpegs"))) == 35
    (root / "small").mkdir()
    (root / "jpegs").rename(root / "small/files")
    assert len(every(make(root, images_dir="small"))) == 35


def test_a_few_images_of_many_are_found_by_their_folders(root, monkeypatch):
    """One image is left, which is not among the two that are looked for."""
    monkeypatch.setattr("data_modules.archives.mimic_tables.PROBED", 2)
    kept = make(root).read_index()[1].images[0]
    for path in (root / "files").rglob("*.jpg"):
        if str(path) != kept:
            path.unlink()
    data = make(root, allow_missing=True)
    assert [study.images for study in data.studies("train")] == [(kept,)]
    assert f"images from {root}/files: 0 of 2 that were looked for are there" in data.notes
    (root / "images").mkdir()
    Path(kept).rename(root / "images" / Path(kept).name)
    shutil.rmtree(root / "files")
    assert len(make(root, allow_missing=True).studies("train")) == 1


def broken(table: str, change, fault: str, rest: int = 34):
    return pytest.param(table, change, fault, rest, id=fault[:40])


@pytest.mark.parametrize(
    ("table", "change", "fault", "rest"),
    [
        broken("metadata", put(1, "dicom_id", "../../x"), "metadata.csv.gz:3 is no dicom id ('../../x')"),
        broken("metadata", put(1, "dicom_id", ""), "metadata.csv.gz:3 is no dicom id ('')"),
        broken("metadata", put(1, "subject_id", "x1"), "metadata.csv.gz:3 is no subject id ('x1')"),
        broken("metadata", put(1, "study_id", "50/1"), "metadata.csv.gz:3 is no study id ('50/1')"),
        broken("split", put(1, "split", "trian"), "split.csv.gz:3 split is none of train,"),
        broken("split", put(1, "dicom_id", "x"), "metadata.csv.gz:3 has no split in mimic-cxr-2.0.0-split.csv.gz ("),
        broken("chexpert", put(0, "Edema", "2.0"), "chexpert.csv.gz:2 'Edema' is none of -1, 0, 1, nor empty ('2.0')"),
        broken("chexpert", put(0, "study_id", ""), "chexpert.csv.gz:2 column 'study_id' is empty"),
        broken("metadata", lambda r: pd.concat([r, r[1:2]]), "metadata.csv.gz:72 is listed before (", 35),
        broken("chexpert", lambda r: pd.concat([r, r[:1]]), "chexpert.csv.gz:37 is listed before (", 35),
    ],
)
def test_rows_that_cannot_be_used_are_noted(root, table, change, fault, rest):
    """35 studies; a bad row takes its one frontal image, or its labels, and so its study."""
    edit(root, table, change)
    data = make(root)
    assert len(data.read_index()) == rest
    assert any(" ".join(one).startswith(f"mimic-cxr-2.0.0-{fault}") for one in data.faults), data.faults


@pytest.mark.parametrize(
    ("change", "reason", "settings"),
    [
        (lambda r: (r / TABLE.format("metadata")).unlink(), "has none of mimic-cxr-2.0.0-metadata.csv", {}),
        (lambda r: (r / TABLE.format("split")).unlink(), "has none of mimic-cxr-2.0.0-split.csv", {}),
        (lambda r: (r / TABLE.format("negbio")).unlink(), "none of mimic-cxr-2.0.0-negbio.csv", {"labeler": "negbio"}),
        (lambda r: edit(r, "metadata", lambda t: t.drop(columns="ViewPosition")), "no column 'ViewPosition'", {}),
        (lambda r: edit(r, "metadata", lambda t: t.drop(columns="StudyTime")), "column 'StudyTime'", {"prior": True}),
        (lambda r: edit(r, "split", lambda t: t.drop(columns="split")), "has no column 'split'", {}),
        (lambda r: edit(r, "chexpert", lambda t: t.drop(columns="Edema")), "has no column 'Edema'", {}),
        (lambda r: edit(r, "chexpert", lambda t: t.drop(columns="Lung Opacity")), "no column 'Lung Opacity'", {}),
        (lambda r: (r / TABLE.format("split")).write_bytes(b"\x1f\x8b\x08cut"), "split.csv.gz: cannot be read", {}),
        (lambda r: shutil.rmtree(r / "files/p10"), "images of split 'train' are not there.*allow_missing", {}),
    ],
)
def test_a_broken_download_is_an_error_that_says_where(root, change, reason, settings):
    change(root)
    with pytest.raises(DataError, match=reason):
        make(root, **settings).studies("train")


def test_plain_tables_are_read_too(root):
    plain = every(make(root))
    for name in ("metadata", "split", "chexpert"):
        packed = root / TABLE.format(name)
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    assert every(make(root)) == plain


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"labeler": "radiologist"}, "labeler must be chexpert or negbio, got 'radiologist'"),
        ({"test_labels": "chexpert"}, "test_labels must be labeler or radiologist, got 'chexpert'"),
        ({"uncertain": "maybe"}, "uncertain must be one of ignore, zeros, ones, mixed, got 'maybe'"),
        ({"views": ["PA", "frontal"]}, "views must name some of PA, AP, .*, got 'frontal'"),
        ({"sections": ["finding"]}, "sections must name some of addendum, .*, got 'finding'"),
        ({"sections": []}, r"sections must name at least one section, got \[\]"),
        ({"max_images": 0}, "max_images must be >= 1, got 0"),
    ],
)
def test_settings_out_of_range(settings, reason):
    with pytest.raises(ValueError, match=reason):
        make(Path("x"), **settings)
