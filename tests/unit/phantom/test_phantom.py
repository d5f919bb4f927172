"""The drawn world: who has what, and that every finding leaves its sign where it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apo_lightning.phantom.domains import DOMAINS, shift
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.world import FINDINGS, PREVALENCE, SIDED, cases, patient_cases
from apo_lightning.types import Detail
from data_modules.phantom import Phantom


def pixels(present: dict[str, Detail], size: int = 112) -> np.ndarray:
    """The first case with other findings, everything else the same."""
    return np.asarray(draw(replace(patient_cases(0, 0)[0], present=present), size), float)


def test_cases_are_a_function_of_the_seed() -> None:
    assert patient_cases(1, 7) == patient_cases(1, 7)
    assert patient_cases(1, 7) != patient_cases(2, 7)
    assert (np.asarray(draw(patient_cases(1, 7)[0])) == np.asarray(draw(patient_cases(1, 7)[0]))).all()


@pytest.mark.parametrize("finding", FINDINGS)
def test_prevalence(finding: str) -> None:
    found = np.mean([finding in case.present for case in cases(0, 2000)])
    assert abs(found - PREVALENCE[finding]) < 0.05


@pytest.mark.parametrize("finding", sorted(SIDED))
def test_the_patients_left_is_on_the_right_of_the_image(finding: str) -> None:
    normal = pixels({})
    for side, right_half in (("left", True), ("right", False)):
        change = np.abs(pixels({finding: Detail(side, "moderate")}) - normal)
        right, left = change[:, 60:].sum(), change[:, :52].sum()
        assert (right > 3 * left) if right_half else (left > 3 * right)


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_worse_grade_changes_more_of_the_image(finding: str) -> None:
    side, normal = ("left" if finding in SIDED else None), pixels({})
    change = [np.abs(pixels({finding: Detail(side, grade)}) - normal).sum() for grade in ("mild", "moderate", "severe")]
    assert change[0] < change[1] < change[2]


@pytest.mark.parametrize("finding", ["pleural_effusion", "consolidation", "edema", "pneumonia", "atelectasis"])
def test_opacities_are_bright(finding: str) -> None:
    change = pixels({finding: Detail("left", "severe")}) - pixels({})
    strongest = change[np.abs(change) > 0.6 * np.abs(change).max()]
    assert np.mean(strongest > 0) > 0.75


def test_free_air_is_black_beyond_a_bright_pleural_line() -> None:
    change = pixels({"pneumothorax": Detail("left", "severe")}) - pixels({})
    upper_row = change[30]
    assert upper_row.min() < -25 and upper_row.max() > 25
    assert upper_row[: upper_row.argmax()].min() > upper_row[upper_row.argmax() :].min()


def test_the_same_case_at_every_size() -> None:
    small = pixels({"edema": Detail(None, "severe")}, 112)
    large = pixels({"edema": Detail(None, "severe")}, 448).reshape(112, 4, 112, 4).mean((1, 3))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("domain", DOMAINS)
def test_domains_change_the_image_and_not_its_size(domain: str) -> None:
    image = draw(cases(0, 1)[0])
    moved = shift(image, domain, 3)
    assert moved.size == image.size and moved.mode == "L"
    assert (np.asarray(moved) == np.asarray(shift(image, domain, 3))).all()
    assert (np.abs(np.asarray(moved, float) - np.asarray(image, float)).mean() > 3) == (domain != "home")


def test_no_patient_is_in_two_splits_and_a_larger_set_holds_the_smaller() -> None:
    small, large = Phantom(train=20, val=10, test=10), Phantom(train=40, val=10, test=10)
    patients = [{study.patient for study in small.studies(split)} for split in ("train", "val", "test")]
    assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])
    assert small.studies("train") == large.studies("train")[:20]
    assert all(len(study.images) == 1 and study.report for study in small.studies("test"))
