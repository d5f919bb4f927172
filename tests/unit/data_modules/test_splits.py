"""Who is in which split: by patient, seeded, nested, and the same whoever else is in the set."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from apo_lightning.errors import DataError
from apo_lightning.types import Study
from data_modules.loading.splits import NAMES, apply_split_file, cut, read_split_file, share_of_patients
from data_modules.tables import Faults

PATIENTS = [f"p{number}" for number in range(200)]


def studies(*splits_of_patients: tuple[str, str], each: int = 1) -> list[Study]:
    return [
        Study(f"{patient}/s{number}", patient, split, (), {})
        for patient, split in splits_of_patients
        for number in range(each)
    ]


def where(found: list[Study]) -> dict[str, str]:
    """Study id to split."""
    return {study.id: study.split for study in found}


def test_the_draw_takes_the_lowest_hashes_of_seed_and_patient():
    """Worked out here from the definition; 0.3 of 4 patients is 1.2, so one."""
    names = ["a", "b", "c", "d"]
    first = min(names, key=lambda name: hashlib.sha256(f"7:{name}".encode()).hexdigest())
    assert share_of_patients(names, 0.3, 7) == {first}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.999, 1.0])
def test_a_share_has_its_size_and_at_least_one_patient(share):
    assert len(share_of_patients(PATIENTS, share, 0)) == max(1, round(share * 200))
    assert len(share_of_patients(PATIENTS[:1], share, 0)) == 1
    assert share_of_patients([], share, 0) == set()


def test_shares_are_nested_and_depend_on_the_seed_alone():
    parts = [share_of_patients(PATIENTS, share, 3) for share in (0.01, 0.1, 0.5, 1.0)]
    assert parts[0] < parts[1] < parts[2] < parts[3] == set(PATIENTS)
    assert share_of_patients(reversed(PATIENTS * 3), 0.1, 3) == parts[1], "order and repetition do not matter"
    assert share_of_patients(PATIENTS, 0.1, 4) != parts[1]


def test_other_patients_move_no_more_than_the_edge():
    """Without one patient the draw of the others differs by at most one; without ten, by at most ten."""
    whole = share_of_patients(PATIENTS, 0.3, 0)
    for gone in (PATIENTS[:1], PATIENTS[50:60], sorted(whole)[:10]):
        rest = [name for name in PATIENTS if name not in gone]
        assert len(share_of_patients(rest, 0.3, 0) ^ (whole - set(gone))) <= len(gone)


def test_a_set_without_splits_is_cut_in_three_by_patient():
    """100 patients with two studies each: 20 tested on, then 0.25 of the other 80 validate."""
    found = cut(studies(*((name, "") for name in PATIENTS[:100]), each=2), val=0.25, test=0.2, seed=0)
    assert Counter(study.split for study in found) == {"train": 120, "val": 40, "test": 40}
    assert len({(study.patient, study.split) for study in found}) == 100, "a patient is in one split"
    assert [study.id for study in found] == [f"{name}/s{n}" for name in PATIENTS[:100] for n in range(2)]
    again = cut(studies(*((name, "") for name in PATIENTS[:100]), each=2), val=0.25, test=0.2, seed=0)
    assert again == found
    other = cut(studies(*((name, "") for name in PATIENTS[:100]), each=2), val=0.25, test=0.2, seed=1)
    assert where(other) != where(found)


def test_an_official_test_part_stays_and_validation_is_cut_from_training_patients():
    given = studies(*((name, "train") for name in PATIENTS[:40]), *((name, "test") for name in PATIENTS[40:60]))
    found = cut(given, val=0.1, test=0.9, seed=0)
    assert Counter(study.split for study in found) == {"train": 36, "val": 4, "test": 20}
    assert {study.patient for study in found if study.split == "test"} == set(PATIENTS[40:60])
    held = {study.patient for study in found if study.split == "val"}
    assert held == share_of_patients(PATIENTS[:40], 0.1, 0)
    assert held < {study.patient for study in cut(given, val=0.5, test=0.9, seed=0) if study.split == "val"}


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("train", "val"), ("test",), ()])
def test_complete_official_splits_are_left_as_they_are(splits):
    given = studies(*zip(PATIENTS, splits, strict=False))
    assert cut(given, val=0.5, test=0.5, seed=0) == given


@pytest.mark.parametrize("word", sorted(NAMES))
def test_split_files_may_call_the_splits_as_archives_do(tmp_path, word):
    path = tmp_path / "splits.csv"
    path.write_text(f"study,split\na,{word.upper()}\n")
    expected = {"tr": "train", "va": "val", "de": "val", "te": "test"}[word[:2]]
    assert read_split_file(path, Faults()) == {"a": expected}


def test_a_split_file_sets_the_splits_and_leaves_out_what_it_does_not_list(tmp_path):
    path, faults = tmp_path / "splits.csv", Faults()
    path.write_text("split;study\nvalidate;p0/s0\ntest;p1/s0\ntrain;p1/s0\ntrain;\ntrain;elsewhere\n")
    listed = read_split_file(path, faults)
    assert listed == {"p0/s0": "val", "p1/s0": "test", "elsewhere": "train"}
    assert [place for place, _ in faults] == ["splits.csv:5", "splits.csv:4"]
    given = studies(("p0", "train"), ("p1", "train"), ("p2", "train"))
    assert where(apply_split_file(given, listed, path)) == {"p0/s0": "val", "p1/s0": "test"}


def broken(text: str, reason: str):
    return pytest.param(text, reason, id=reason[:30])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        broken("study,split\na,train\nb,holdout\n", r"splits.csv \(splits.csv:3\): split must be .*, got 'holdout'"),
        broken("study,split\na,\n", "split must be one of train, .*, got ''"),
        broken("study,part\na,train\n", "has no column 'split'"),
        broken("id,split\na,train\n", "has no column 'study'"),
    ],
)
def test_a_broken_split_file_is_an_error(tmp_path, text, reason):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        read_split_file(tmp_path / "splits.csv", Faults())


def test_a_split_file_of_another_set_is_an_error_that_shows_both_kinds_of_ids():
    with pytest.raises(DataError, match=r"lists none of the 1 studies.* like '50414267', here like 'p0/s0'"):
        apply_split_file(studies(("p0", "")), {"50414267": "train"}, Path("splits.csv"))
    with pytest.raises(DataError, match="lists none of the 0 studies"):
        apply_split_file([], {}, Path("splits.csv"))
