"""Teachers' texts as arrays: order, codes, places in the text, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from apo_lightning.drift.corpus import SEVERITIES, SIDES, Corpus
from apo_lightning.errors import DataError
from apo_lightning.text.labeler import KINDS
from apo_lightning.types import Detail, Study, Trajectory

NAN = np.nan
FINDINGS = ("edema", "pleural_effusion")
TEXTS = {
    "late": {"a": "Left pleural effusion. No edema.", "b": "No right effusion. Edema."},
    "early": {"b": "I cannot interpret medical images."},
}


def corpus(**given) -> Corpus:
    return Corpus.read(TEXTS, FINDINGS, **given)


def test_studies_stand_in_the_order_of_their_stream() -> None:
    found = corpus(places={"late": 0.75, "early": 0.25}, patients={"late": "p", "early": "q"})
    assert (found.studies, found.patients, found.teachers) == (("early", "late"), ("q", "p"), ("a", "b"))
    assert found.place.tolist() == [0.25, 0.75]
    assert found.present.tolist() == [[False, True], [True, True]]
    assert found.lengths.tolist() == [[0, 5], [5, 4]]
    assert found.kind.tolist() == [[-1, KINDS.index("refused")], [KINDS.index("stated")] * 2]
    assert found.truth is None
    assert found.true_sides is None


def test_without_places_the_order_given_is_spread_evenly() -> None:
    found = corpus()
    assert (found.studies, found.place.tolist()) == (("late", "early"), [0, 1])
    assert found.patients == found.studies


def test_what_is_stated_where_and_on_which_side() -> None:
    found = corpus()
    np.testing.assert_array_equal(found.said[0], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(found.said[1], np.full((2, 2), NAN))
    np.testing.assert_array_equal(found.steps[0], [[1, 0], [1, 0]])
    assert np.isnan(found.steps[1]).all()
    named = [[SIDES[code] for code in row] for row in found.sides[0]]
    assert named == [["", "left"], ["", "right"]], "of an absent finding, the only side that is denied"


def test_the_last_sentence_that_says_so_counts() -> None:
    text = "Effusion. Left effusion. Chest film. Edema. No effusion. Right effusion."
    found = Corpus.read({"s": {"a": text}}, FINDINGS)
    assert SIDES[found.sides[0, 0, 1]] == "right"
    np.testing.assert_allclose(found.steps[0, 0], [2 / 4, 1], err_msg="of the five sentences that state something")


def test_a_single_sentence_stands_in_the_middle() -> None:
    assert Corpus.read({"s": {"a": "No edema."}}, FINDINGS).steps[0, 0].tolist()[0] == 0.5


def test_truth_and_its_sides() -> None:
    found = corpus(truth={"late": {"edema": 1, "other": 1}}, true_sides={"late": {"pleural_effusion": "left"}})
    np.testing.assert_array_equal(found.truth, [[1, NAN], [NAN, NAN]])
    np.testing.assert_array_equal(found.true_sides, [[0, SIDES.index("left")], [0, 0]])
    assert corpus(truth={"late": {}}).truth is None


def test_of_the_records_of_a_run() -> None:
    study = Study("s", "p", "test", (), {"edema": 1.0}, {"edema": Detail("left", "mild")})
    found = Corpus.of([Trajectory("s", "b", "Edema.", 0.2), Trajectory("s", "a", "", 0.4)], [study], FINDINGS)
    assert (found.teachers, found.patients, found.place.tolist()) == (("b", "a"), ("p",), [pytest.approx(0.3)])
    assert (SIDES[found.true_sides[0, 0]], SEVERITIES[found.true_severities[0, 0]]) == ("left", "mild")
    assert KINDS[found.kind[0, 1]] == "refused", "an empty text"


def test_some_studies_and_teachers() -> None:
    whole = corpus(truth={"late": {"edema": 1}})
    found = whole.only(np.array([True, False]), ["b"])
    assert (found.studies, found.teachers, found.said.shape) == (("late",), ("b",), (1, 1, 2))
    assert found.texts == {"late": {"b": TEXTS["late"]["b"]}}
    assert found.truth.shape == (1, 2)
    assert whole.only(teachers=["b", "a"]).lengths.tolist() == [[4, 5], [5, 0]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"places": {"late": 0.5}}, "study 'early' has texts and no place"),
        ({"places": {"late": 0.5, "early": 2}}, "study 'early' in its stream must be in \\[0, 1\\], got 2.0"),
        ({"places": {"late": 0.5, "early": NAN}}, "must be in \\[0, 1\\], got nan"),
        ({"patients": {"late": "p"}}, "no patient"),
        ({"truth": {"late": {"edema": 2}}}, "edema of study 'late' must be 1, 0 or unknown, got 2.0"),
        ({"true_severities": {"late": {"edema": "huge"}}}, "severity must be mild, moderate, severe, got 'huge'"),
        ({"true_sides": {"late": {"edema": "up"}}}, "must be left, right, bilateral, got 'up' of study 'late'"),
    ],
)
def test_what_is_refused(given: dict, said: str) -> None:
    with pytest.raises(DataError, match=said):
        corpus(**given)


def test_nothing_to_read() -> None:
    for texts in ({}, {"s": {}}):
        with pytest.raises(DataError, match="no text to read"):
            Corpus.read(texts, FINDINGS)
    with pytest.raises(DataError, match="at least one finding and none twice"):
        Corpus.read(TEXTS, ("edema", "edema"))
    study = Study("s", "p", "test", (), {})
    with pytest.raises(DataError, match="'x' is in no data set"):
        Corpus.of([Trajectory("x", "a", "")], [study], FINDINGS)
    with pytest.raises(DataError, match="'s' has two texts of 'a'"):
        Corpus.of([Trajectory("s", "a", ""), Trajectory("s", "a", "")], [study], FINDINGS)


def test_the_codes() -> None:
    assert SIDES == ("", "left", "right", "bilateral")
    assert SEVERITIES == ("", "mild", "moderate", "severe")
