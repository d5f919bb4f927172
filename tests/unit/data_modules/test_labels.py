"""Policies for uncertain and silent labels, and the names of findings."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from apo_lightning.findings import CANONICAL, CHEXPERT, COMPETITION, canonical
from data_modules import chestxdet10, chestxray14, chexpert
from data_modules.tables.labels import as_findings, check_policies, settle

NAN = math.nan
RAW = {
    #                    present, absent, uncertain, silent, silent beside no_finding = 1
    "atelectasis": [1.0, 0.0, -1.0, NAN, NAN],
    "cardiomegaly": [1.0, 0.0, -1.0, NAN, NAN],
    "consolidation": [1.0, 0.0, -1.0, NAN, NAN],
    "edema": [1.0, 0.0, -1.0, NAN, NAN],
    "pleural_effusion": [1.0, 0.0, -1.0, NAN, NAN],
    "pneumonia": [1.0, 0.0, -1.0, NAN, NAN],
    "support_devices": [1.0, 0.0, -1.0, NAN, NAN],
    "no_finding": [NAN, NAN, NAN, NAN, 1.0],
}
UNCERTAIN = {
    "ignore": dict.fromkeys(RAW, NAN),
    "zeros": dict.fromkeys(RAW, 0.0),
    "ones": dict.fromkeys(RAW, 1.0),
    "mixed": {
        "atelectasis": 1.0,
        "cardiomegaly": 0.0,
        "consolidation": 0.0,
        "edema": 1.0,
        "pleural_effusion": 1.0,
        "pneumonia": NAN,
        "support_devices": NAN,
    },
}


def row(settled: pd.DataFrame, name: str) -> list[float]:
    return settled[name].tolist()


def same(*expected: float):
    return pytest.approx(list(expected), nan_ok=True)


@pytest.mark.parametrize("uncertain", sorted(UNCERTAIN))
def test_policies_where_silence_is_absence(uncertain):
    settled = settle(pd.DataFrame(RAW), uncertain=uncertain, unmentioned="absent")
    for name in set(RAW) - {"no_finding"}:
        assert row(settled, name) == same(1.0, 0.0, UNCERTAIN[uncertain][name], 0.0, 0.0), name
    assert row(settled, "no_finding") == same(0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("uncertain", sorted(UNCERTAIN))
def test_policies_where_silence_is_not_known(uncertain):
    """Beside no_finding = 1 a disease is absent even so; a device may be there."""
    settled = settle(pd.DataFrame(RAW), uncertain=uncertain, unmentioned="unknown")
    for name in set(RAW) - {"no_finding", "support_devices"}:
        assert row(settled, name) == same(1.0, 0.0, UNCERTAIN[uncertain][name], NAN, 0.0), name
    assert row(settled, "support_devices") == same(1.0, 0.0, UNCERTAIN[uncertain]["support_devices"], NAN, NAN)
    assert row(settled, "no_finding") == same(NAN, NAN, NAN, NAN, 1.0)


def test_an_uncertain_label_beside_no_finding_is_not_silent():
    raw = pd.DataFrame({"edema": [-1.0], "no_finding": [1.0]})
    assert row(settle(raw, uncertain="ignore", unmentioned="unknown"), "edema") == same(NAN)
    assert row(settle(raw, uncertain="ones", unmentioned="absent"), "edema") == [1.0]


def test_no_finding_itself_may_be_uncertain_or_not_a_column():
    raw = pd.DataFrame({"edema": [NAN], "no_finding": [-1.0]})
    settled = settle(raw, uncertain="zeros", unmentioned="unknown")
    assert row(settled, "edema") == same(NAN) and row(settled, "no_finding") == [0.0]
    assert row(settle(raw[["edema"]], uncertain="zeros", unmentioned="unknown"), "edema") == same(NAN)


def test_settling_keeps_shape_and_leaves_its_argument_alone():
    raw = pd.DataFrame(RAW, index=list("vwxyz"))
    before = raw.copy()
    settled = settle(raw, uncertain="ones", unmentioned="absent")
    pd.testing.assert_frame_equal(raw, before)
    assert list(settled.columns) == list(RAW) and list(settled.index) == list("vwxyz")
    assert settle(raw[:0], uncertain="ones", unmentioned="absent").shape == (0, 8)


def test_unknown_policies_are_refused():
    with pytest.raises(ValueError, match="uncertain must be one of ignore, zeros, ones, mixed, got 'U-Ones'"):
        check_policies("U-Ones", "absent")
    with pytest.raises(ValueError, match="unmentioned must be one of absent, unknown, got ''"):
        settle(pd.DataFrame(RAW), uncertain="ones", unmentioned="")


def test_findings_of_equal_rows_compare_equal_although_nan_does_not():
    settled = pd.DataFrame({"edema": [NAN, NAN, 1.0], "mass": [0.0, 0.0, NAN]}, index=["a", "b", "c"])
    found = as_findings(settled)
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == found["b"] != found["c"]
    assert found["c"]["edema"] == 1.0 and math.isnan(found["c"]["mass"]) and type(found["c"]["edema"]) is float
    assert as_findings(settled[:0]) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Enlarged Cardiomediastinum", "enlarged_cardiomediastinum"),
        ("  Pleural_Thickening ", "pleural_thickening"),
        ("Pleural Thickening", "pleural_thickening"),
        ("Effusion", "pleural_effusion"),
        ("Pleural Effusion", "pleural_effusion"),
        ("Airspace Opacity", "lung_opacity"),
        ("Infiltrate", "infiltration"),
        ("Lesion", "lung_lesion"),
        ("No Finding", "no_finding"),
        ("normal", "no_finding"),
        ("COVID-19", "covid_19"),
        ("Calcified Granuloma", "calcified_granuloma"),
        ("edema", "edema"),
    ],
)
def test_names_of_other_sets(name, expected):
    assert canonical(name) == expected
    assert canonical(expected) == expected, "a canonical name stays"


def test_vocabularies_lie_inside_each_other():
    assert set(COMPETITION) < set(CANONICAL) < set(CHEXPERT) and len(CHEXPERT) == 14
    for names in (COMPETITION, CANONICAL, CHEXPERT):
        assert list(names) == sorted(set(names))
    assert set(map(canonical, chexpert.LABELS)) == set(CHEXPERT)
    for labels, count in ((chestxray14.LABELS, 14), (chestxdet10.LABELS, 10)):
        assert len(set(map(canonical, labels))) == count
    shared = set(map(canonical, chestxray14.LABELS)) & set(CHEXPERT)
    assert shared == set(CANONICAL), "what NIH and CheXpert both label, under one name"
