"""Every set against ways of writing its identifiers: what the clean tables give is found, or the way is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from apo_lightning.errors import DataError
from data_modules.mimic_cxr import MIMICCXR
from data_modules.ms_cxr_t import MSCXRT
from data_modules.tabular import Tabular
from data_modules.transfer import Transfer
from tests.helpers.identifier_joins import JOINS, WAYS, Join, outcome, rewrite
from tests.helpers.mimic_cxr_folder import TABLE, mimic_folder
from tests.helpers.ms_cxr_t_folder import IMAGES, ms_cxr_t_folder
from tests.helpers.tabular_folder import draw

TRIED = ("zero width", "upper case", "float", "thousands, comma", "exponent, rounded")
"""Ways that are tried on whole sets; `test_identifiers` has all of them, and benchmarks/identifiers.py all on all."""


@pytest.mark.parametrize("join", JOINS, ids=lambda join: join.name)
def test_what_is_joined_is_what_the_clean_tables_give_or_the_way_is_refused(join: Join) -> None:
    clean, why = outcome(join, WAYS["clean"])
    assert clean, why
    for name, way in join.ways().items():
        if name in TRIED:
            count, why = outcome(join, way)
            assert count == clean or (count is None and _names_an_id(why)), (name, count, clean, why)
            assert count is None or name != "exponent, rounded"


def _names_an_id(why: str) -> bool:
    return any(word in why for word in ("has lost digits", "may be", "'1E+01' of teacher"))


def test_sets_of_one_numbering_without_a_common_patient_say_so(tmp_path, caplog):
    mimic_folder(tmp_path / "m")
    ms_cxr_t_folder(tmp_path / "t")
    rows = pd.read_csv(tmp_path / "t" / IMAGES, dtype=str)
    for column in ("dicom_id", "previous_dicom_id"):  # flat names, so that the path does not tell
        rows[column] = rows[column].str.rpartition("/")[2]
    rows.assign(subject_id=[f"2999{n:04d}" for n in range(len(rows))]).to_csv(tmp_path / "t" / IMAGES, index=False)
    flat = tmp_path / "t/images"
    flat.mkdir()
    for path in (tmp_path / "t/files").rglob("*.jpg"):
        path.rename(flat / path.name)
    data = Transfer(MIMICCXR(root=str(tmp_path / "m")), MSCXRT(root=str(tmp_path / "t")))
    data.check()
    said = (
        "None of the 24 patients that are tested on (such as '29990000') is among the 26 of the set that is trained on "
        "(such as '10000032'), though both have the patients of 'mimic'."
    )
    assert data.removed == 0 and said in caplog.text and any(note.startswith(said) for note in data.notes)


def test_how_many_of_the_tested_patients_are_shared_is_said(tmp_path):
    data = Transfer(MIMICCXR(root=str(mimic_folder(tmp_path / "m"))), MSCXRT(root=str(ms_cxr_t_folder(tmp_path / "t"))))
    data.check()
    assert data.removed == 2, "patient 10000032 has two studies"
    assert "1 of 24 patients that are tested on are in the set that is trained on" in data.notes


@pytest.mark.parametrize(("patient", "said"), [("10000032.0", True), ("P10000032", True), ("32", False)])
def test_a_table_of_ones_own_with_the_patients_of_a_set_is_said(tmp_path, caplog, patient, said):
    """Nobody says that they are MIMIC-CXR's, so none is left out."""
    own = parquet(tmp_path / "own", patient=[patient, "b", "c"], part=["train", "val", "test"])
    own.split = "part"
    pairs = MSCXRT(root=str(ms_cxr_t_folder(tmp_path / "t")))
    data = Transfer(own, pairs)
    data.check()
    assert data.removed == 0
    assert ("1 patient ids are both tested on and trained on (such as '10000032')" in caplog.text) == said


def test_an_image_path_that_names_another_patient_is_a_fault(tmp_path):
    root = ms_cxr_t_folder(tmp_path)
    rewrite(root / IMAGES, ("subject_id",), lambda text: "29999999", slice(0, 1))
    data = MSCXRT(root=str(root))
    assert len(data.studies("test")) == 23
    assert data.faults == [
        (f"{IMAGES}:2", "subject id is not that of the image path ('29999999') in column 'subject_id'")
    ]


@pytest.mark.parametrize("column", ["subject_id", "study_id", "dicom_id"])
def test_a_table_without_a_usable_id_is_an_error_and_no_traceback(tmp_path, column):
    root = mimic_folder(tmp_path)
    rewrite(root / TABLE.format("metadata"), (column,), lambda text: "?")
    with pytest.raises(
        DataError, match=rf"is no \w+ id \('\?'\) in column '{column}'. None of the 70 rows can be used"
    ):
        MIMICCXR(root=str(root)).check()


def test_views_that_no_image_has_leave_nothing_and_no_traceback(tmp_path):
    data = MIMICCXR(root=str(mimic_folder(tmp_path)), views=["LPO"])
    with pytest.raises(DataError, match="Split 'train' has no studies"):
        data.check()


def parquet(root: Path, **patients: object) -> Tabular:
    """A table of three images."""
    root.mkdir(exist_ok=True)
    for number in range(3):
        draw(root / f"{number}.png", number)
    rows = pd.DataFrame({"image": [f"{n}.png" for n in range(3)], "Edema": [0, 1, 0], **patients})
    rows.to_parquet(root / "index.parquet")
    return Tabular(root=str(root), index_file="index.parquet")


@pytest.mark.parametrize("kind", ["int64", "float64", "float32", "Int64", "Float64", "string"])
def test_numbers_of_a_parquet_file_are_ids_without_a_fraction(tmp_path, kind):
    data = parquet(tmp_path, patient=pd.Series([7, 7, 16_777_215]).astype(kind))
    assert [study.patient for study in data.index] == ["7", "7", "16777215"] and not data.faults


@pytest.mark.parametrize(("kind", "first"), [("float32", 50_414_267), ("float64", 2**53 + 1), ("Float32", 50_414_267)])
def test_ids_that_a_float_cannot_hold_are_faults(tmp_path, kind, first):
    """50414267 is 50414268 as a float of 32 bits, and so is its neighbour."""
    data = parquet(tmp_path, patient=pd.Series([first, 7, 8]).astype(kind))
    assert [study.patient for study in data.index] == ["7", "8"]
    assert [where for where, _ in data.faults] == ["index.parquet:1"] and "has lost digits" in data.faults[0][1]


def test_two_ways_of_one_patient_never_part_it(tmp_path):
    """Twenty patients, a row as text and a row as float each: no split has one without the other."""
    names = [f"{n}{end}" for n in range(20) for end in ("", ".0")]
    for number in range(40):
        draw(tmp_path / f"{number}.png", number)
    rows = {"image": [f"{n}.png" for n in range(40)], "patient": names, "Edema": [0, 1] * 20}
    pd.DataFrame(rows).to_csv(tmp_path / "index.csv", index=False)
    data = Tabular(root=str(tmp_path))
    data.check()
    assert data.facts()["studies"] == {split: 2 * n for split, n in data.facts()["patients"].items()}
    assert "20 patient ids are written in several ways and count as one each, first '0' and '0.0'" in data.notes


def test_a_split_given_by_the_table_that_parts_such_a_patient_is_an_error(tmp_path):
    for number in range(3):
        draw(tmp_path / f"{number}.png", number)
    rows = {"image": ["0.png", "1.png", "2.png"], "patient": ["2", "2.0", "3"], "part": ["train", "test", "val"]}
    pd.DataFrame({**rows, "Edema": [0, 1, 0]}).to_csv(tmp_path / "index.csv", index=False)
    with pytest.raises(DataError, match="1 patients are both in 'train' and in 'test': 2"):
        Tabular(root=str(tmp_path), split="part").check()
