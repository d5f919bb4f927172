"""One normal form of each kind of identifier, and what is refused because it may be another."""

from __future__ import annotations

import pandas as pd
import pytest

from apo_lightning.errors import DataError
from apo_lightning.identifiers.forms import (
    CHEXPERT_PATH,
    CHEXPERT_STUDY,
    COVID_PATIENT,
    MIMIC_DICOM,
    MIMIC_STUDY,
    MIMIC_STUDY_ID,
    MIMIC_SUBJECT,
    MIMIC_TREE,
    NIH_FILE,
    NIH_IMAGE,
    NIH_PATIENT,
    OPEN_I_NUMBER,
    OPEN_I_UID,
    TEXT,
    Form,
    cleaned,
)
from apo_lightning.identifiers.matching import alike, lookalikes, matched, may_be_one
from apo_lightning.identifiers.whole_numbers import Unsure, whole
from data_modules.tables import Faults
from data_modules.tables.identifiers import normal, own
from tests.helpers.identifier_joins import ANY, NUMBERS, lettered

DICOM = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"
NORMAL = {
    MIMIC_SUBJECT: ("10001234", "p"),
    MIMIC_STUDY: ("50414267", "s"),
    MIMIC_STUDY_ID: ("s50414267", None),
    MIMIC_DICOM: (DICOM, None),
    MIMIC_TREE: (f"p10/p10001234/s50414267/{DICOM}", None),
    NIH_PATIENT: ("13118", "p"),
    NIH_IMAGE: ("00013118_008", None),
    NIH_FILE: ("00013118_008.png", None),
    CHEXPERT_STUDY: ("patient64541/study1", None),
    OPEN_I_UID: ("CXR2384", None),
    OPEN_I_NUMBER: ("2384", ""),
    CHEXPERT_PATH: ("CheXpert-v1.0/train/patient64541/study1/view1_frontal.jpg", None),
    COVID_PATIENT: ("331a", None),
}
"""Form to a normal form, and the letter before its numbers (None: it is no number, "": none)."""
SURE = {name: way for name, way in NUMBERS.items() if name != "exponent, rounded"}


@pytest.mark.parametrize("form", NORMAL, ids=lambda form: form.what)
def test_a_normal_form_stays_and_every_way_of_writing_leads_to_it(form: Form) -> None:
    text, letter = NORMAL[form]
    assert form(text) == text and form.normal.fullmatch(text)
    for name, way in ANY.items():
        if name == "upper case" and form is CHEXPERT_PATH:
            assert form(way(text)).endswith("/train/patient64541/study1/view1_frontal.jpg")
            continue
        assert form(way(text)) == text, name
    for name, way in SURE.items() if letter is not None else ():
        if letter or ("letter" not in name and "capital" not in name):
            assert form(lettered(way, letter)(text)) == text, name


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (MIMIC_SUBJECT, "1,00,01,234", "10001234"),  # as India writes it
        (MIMIC_SUBJECT, "10'001'234", "10001234"),
        (MIMIC_SUBJECT, "10_001_234", "10001234"),
        (MIMIC_SUBJECT, "Patient ID: 10001234", "10001234"),
        (MIMIC_SUBJECT, "1.0001234e7", "10001234"),
        (MIMIC_SUBJECT, '="\'10001234"', "10001234"),
        (MIMIC_STUDY, "p10/p10000032/s50414267.txt", "50414267"),
        (MIMIC_STUDY_ID, "50414267.0", "s50414267"),
        (MIMIC_STUDY_ID, "p10/s50414267", "s50414267"),
        (MIMIC_STUDY_ID, f"S50414267_{DICOM.upper()}", f"s50414267_{DICOM}"),
        (MIMIC_DICOM, DICOM.replace("-", ""), DICOM),
        (MIMIC_DICOM, DICOM.replace("-", "–").upper() + ".JPG", DICOM),
        (MIMIC_DICOM, "renamed_7", "renamed_7"),
        (MIMIC_TREE, f"/data/mimic/files/P10/p10001234/S50414267/{DICOM}.jpg", f"p10/p10001234/s50414267/{DICOM}"),
        (MIMIC_TREE, f"files\\p10\\p10001234\\s50414267\\{DICOM}", f"p10/p10001234/s50414267/{DICOM}"),
        (MIMIC_TREE, f"{DICOM}.jpg", DICOM),
        (NIH_FILE, "1_0", "00000001_000.png"),
        (NIH_FILE, "00000001_000.PNG", "00000001_000.png"),
        (NIH_FILE, "other name.PNG", "other name.PNG"),
        (NIH_PATIENT, "0001", "1"),
        (NIH_PATIENT, "1,234", "1234"),
        (CHEXPERT_STUDY, "CheXpert-v1.0/valid/Patient1/Study2/", "patient00001/study2"),
        (CHEXPERT_PATH, "a\\train\\patient1\\study1\\View1.jpg", "a/train/patient00001/study1/view1.jpg"),
        (CHEXPERT_PATH, "somewhere else", "somewhere else"),
        (OPEN_I_UID, "CXR1_1_IM-0001-3001.png", "CXR1"),
        (OPEN_I_UID, "cxr0002.0", "CXR2"),
        (COVID_PATIENT, "p331A", "331a"),
        (COVID_PATIENT, "Smith", "Smith"),
        (TEXT, "2.0", "2"),
        (TEXT, "1.0001234E+07", "10001234"),
        (TEXT, "1.20E+02", "120"),
        (TEXT, "1.0001234e7", "10001234"),
    ],
)
def test_what_else_is_read(form: Form, text: str, expected: str) -> None:
    assert form(text) == expected


@pytest.mark.parametrize("text", ["01", "1e5", "2.5", "A.0", "x²", "a–b", "1,234", "A 1", "1.2.0", "07.0", "id/1"])
def test_a_text_of_a_user_stays_where_it_may_mean_something(text: str) -> None:
    assert TEXT(text) == text


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        (MIMIC_SUBJECT, "1.00012E+07", "subject id has lost digits"),
        (MIMIC_SUBJECT, "1E+07", "subject id has lost digits"),
        (MIMIC_SUBJECT, "10001234.5", "is no subject id"),
        (MIMIC_SUBJECT, "s10001234", "is no subject id"),
        (MIMIC_SUBJECT, "1000123", "is no subject id"),
        (MIMIC_SUBJECT, "10,001,23", "is no subject id"),
        (MIMIC_SUBJECT, "-10001234", "is no subject id"),
        (MIMIC_SUBJECT, "9" * 5000, "is no subject id"),
        (MIMIC_SUBJECT, "1e999", "subject id has lost digits"),
        (MIMIC_SUBJECT, "", "is no subject id"),
        (MIMIC_STUDY, "50/1", "is no study id"),
        (MIMIC_DICOM, "../../x", "is no dicom id"),
        (MIMIC_TREE, "../../etc/passwd", "image path leads out of data.root"),
        (NIH_PATIENT, "2.000", "patient id may be 2 or 2000"),
        (NIH_PATIENT, "2,000", "patient id may be 2 or 2000"),
        (OPEN_I_NUMBER, "CXR7", "uid is no number"),
        (COVID_PATIENT, "1E+02", "patient id has lost digits"),
        (TEXT, "1.2E+03", "id has lost digits"),
        (TEXT, "1.070e7", "id has lost digits"),
        (TEXT, "12345678901234567.0", "id has lost digits, since a float holds no more than 15 of them"),
        (TEXT, "1.000", "id may be 1 or 1000"),
        (TEXT, "\u200b' ", "is no id"),
    ],
)
def test_what_cannot_be_told_from_another_id_is_refused(form: Form, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        form(text)


def test_numbers_that_are_none() -> None:
    assert [whole(text) for text in ("", "x", "1.5", "1,2,3", "12,34", "1e-3", "--1", "1 2")] == [None] * 8
    with pytest.raises(Unsure):
        whole("9007199254740992.0")
    assert whole("9007199254740991.0") == "9007199254740991"


def test_what_is_not_seen_goes_and_what_is_seen_stays() -> None:
    assert cleaned("\u2066A\u00ad\u200d1\ufe0f\u3164\u2011B\t") == "A1-B"
    assert cleaned("Ａ　Ｂ") == "A B" and cleaned("“a'b”") == "a'b"


def test_ids_of_one_table_that_may_be_one() -> None:
    assert may_be_one(["01", "1", "2", "A7", "a7", "P3", "3", "s3"], "p") == {
        "01": "1",
        "1": "01",
        "A7": "a7",
        "a7": "A7",
        "P3": "3",
        "3": "P3",
    }
    assert alike("10,001,234") == alike("0010001234") == alike("1.0001234e7") == "10001234"
    assert may_be_one(["P001", "S001", "x1", "1-2", "12", "331a", "331b"], "p") == {}


UUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


@pytest.mark.parametrize(
    "ways",
    [
        ("PAT001", "PAT1"),
        ("pt001", "PT1", "pt-1", "pt 1", "pt1", "1"),
        ("patient 1", "patient 01", "Patient_1"),
        ("A-001", "A-1", "a1", "A_01", "A 1", "A.1"),
        ("#1", "1", "1'", "(1)", "[1]", "№1", "1;", "-1", "1."),
        ("P-1", "P1", "P_1", "p 001", "p#1"),
        (UUID, f"{{{UUID}}}", UUID.replace("-", ""), UUID.upper(), f"urn:uuid:{UUID}"),
        ("sub-01", "sub-1", "subject 1", "Subj. 1"),
        ("Patient-ID: 1", "patientid1", "ID 1", "MRN 0001"),
        ("1-12", "1_12", "01-12"),
        ("site1-007", "Site 1 / 7", "SITE01_7"),
        ("Müller-Lüdenscheid", "müller lüdenscheid"),
        ("a001b02", "A1B2"),
        ("1.2.840.10", "1-2-840-10"),
        ("P1,007", "p1007", "1007.0"),
        ("x–1", "x1"),
        ("_7", "7"),
    ],
)
def test_ids_that_differ_in_zeros_marks_case_and_words_in_front_may_be_one(ways) -> None:
    assert set(may_be_one(ways, "p")) == set(ways), {way: alike(way, "p") for way in ways}


@pytest.mark.parametrize(
    "ids",
    [
        ("1-12", "11-2", "112", "1-1-2"),
        ("A1", "A10", "A100"),
        ("1.5", "15"),
        ("A1", "B1", "1A", "A11"),
        ("site1-2", "site12"),
        ("331a", "331b", "331"),
        ("x1", "1", "s1", "control 1"),
        ("कि", "का"),
        ("é", "e"),
        ("1.2.840.11", "1.2.84.011", "1.28.40.11"),
        ("+", "-"),
        ("0", "00x"),
        (UUID, UUID[:-1] + "8"),
        ("10", "1"),
    ],
)
def test_ids_that_differ_otherwise_are_two(ids) -> None:
    assert may_be_one(ids, "p") == {}, {way: alike(way, "p") for way in ids}


def test_words_in_front_are_those_of_what_is_named() -> None:
    assert may_be_one(["s1", "study 01", "St-1", "p1"], "s").keys() == {"s1", "study 01", "St-1"}
    assert may_be_one(["p1", "1"]) == {}


def test_texts_name_studies_however_they_are_written() -> None:
    ids = ["s50414267", "s50414268", "CXR1", "patient00001/study1", "00000001_000", "own 1", "a/7"]
    texts = ["50414267.0", "s50414268", "1", "Patient1/study1", "1_0.PNG", "own\u00a01", "a/7.png", "A/7", "nobody"]
    named = matched(texts, ids)
    assert list(named.items()) == [
        ("s50414268", "s50414268"),
        *zip(
            ["50414267.0", "1", "Patient1/study1", "1_0.PNG", "own\u00a01", "a/7.png"],
            ["s50414267", "CXR1", "patient00001/study1", "00000001_000", "own 1", "a/7"],
            strict=True,
        ),
    ]
    assert lookalikes(["A/7", "nobody"], ["a/7"]) == {"A/7": "a/7"}


def test_a_text_that_may_be_two_studies_names_none() -> None:
    assert matched(["2.00"], ["2", "2.0"]) == {}
    assert matched(["2.0"], ["2", "2.0"]) == {"2.0": "2.0"}


def frame(*texts: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"patient": list(texts), "where": [f"t.csv:{n}" for n in range(2, 2 + len(texts))]}, dtype="str"
    )


def test_a_column_has_normal_forms_and_faults_by_line() -> None:
    faults = Faults()
    rows = normal(frame("10001234", "10001234.0", "1E+07", "x"), {"patient": MIMIC_SUBJECT}, faults)
    assert rows["patient"].tolist() == ["10001234", "10001234"]
    assert faults == [("t.csv:4", "subject id has lost digits ('1E+07')"), ("t.csv:5", "is no subject id ('x')")]


def test_repeats_are_found_behind_their_ways_of_writing() -> None:
    faults = Faults()
    rows = normal(frame("10001234", "p10001234"), {"patient": MIMIC_SUBJECT}, faults, unique=("patient",))
    assert len(rows) == 1 and faults == [("t.csv:3", "is listed before ('10001234')")]


def test_a_column_without_a_usable_id_is_an_error_that_says_the_first() -> None:
    with pytest.raises(DataError, match=r"t.csv:2: is no subject id \('x'\). None of the 2 rows can be used"):
        normal(frame("x", "y"), {"patient": MIMIC_SUBJECT}, Faults())


def test_no_rows_are_no_rows() -> None:
    rows = normal(frame(), {"patient": MIMIC_SUBJECT}, Faults(), unique=("patient",))
    assert rows.empty and ("p" + rows["patient"].str[:2]).tolist() == []


def test_a_users_ids_are_joined_where_sure_said_and_refused_where_not() -> None:
    faults, said = Faults(), []
    rows = own(frame("2", "2.0", "", "01", "1", "b"), {"patient": "p"}, faults, said.append)
    assert rows["patient"].tolist() == ["2", "2", "", "b"]
    assert said == ["1 patient ids are written in several ways and count as one each, first '2' and '2.0'"]
    assert [where for where, _ in faults] == ["t.csv:5", "t.csv:6"]
    assert faults[0][1].startswith("patient id '01' may be the '1' of another row: write one in one way")
